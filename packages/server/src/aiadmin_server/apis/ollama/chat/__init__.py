"""`/api/chat`."""
