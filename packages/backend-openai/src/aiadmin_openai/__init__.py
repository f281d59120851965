"""AiAdmin's forwarding backend: a model name answered by other OpenAI-compatible servers, its upstreams."""

__version__ = "0.1.0"
