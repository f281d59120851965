"""One module per resource: bytes in, a response out. `errors`, `exchange` and `sse` are shared."""
