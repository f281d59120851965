"""Which engine serves a request: names, what is loaded, whom to unload."""
