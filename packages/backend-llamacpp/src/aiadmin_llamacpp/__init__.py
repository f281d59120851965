"""AiAdmin's llama.cpp backend."""

__version__ = "0.1.0"
