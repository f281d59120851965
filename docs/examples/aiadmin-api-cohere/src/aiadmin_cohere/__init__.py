"""Cohere's chat for AiAdmin."""
