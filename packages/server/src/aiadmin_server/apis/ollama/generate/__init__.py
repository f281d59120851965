"""`/api/generate`."""
