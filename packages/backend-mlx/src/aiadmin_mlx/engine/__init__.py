"""The engine: a thread that owns MLX, the batch it decodes, and the prefixes it keeps."""
