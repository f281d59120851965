"""The AiAdmin server: OpenAI's API for the models of this machine."""

__version__ = "0.1.0"
