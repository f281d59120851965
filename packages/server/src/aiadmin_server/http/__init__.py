"""The door: what surrounds every request, how bodies are read, how errors and frames look on the wire. Knows no API."""
