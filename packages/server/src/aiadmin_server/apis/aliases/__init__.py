"""Aliases over HTTP: ours alone, below `/api/aliases`. What they are is in `store/aliases.py`."""
