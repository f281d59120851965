"""A request on its way through an engine and back, whichever API it came by. Knows no API."""
