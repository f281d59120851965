"""The token engine: one thread that owns the context, and the pure parts that tell it what to do."""
