"""What clients of Ollama ask: `/api/*`."""
