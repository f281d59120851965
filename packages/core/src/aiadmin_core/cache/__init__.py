"""Which tokens are held where outside the context of an engine: shared by the backends, free of their libraries."""
