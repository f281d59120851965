"""Tokens of an answer that are guessed before they are computed: shared by the backends, free of their libraries."""
