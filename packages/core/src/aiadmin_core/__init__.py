"""AiAdmin's core: specs, hooks, the runner, and what every backend shares. Importing it loads nothing heavy."""

__version__ = "0.1.0"
