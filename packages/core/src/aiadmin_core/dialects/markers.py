"""Markers in a stream of text. Used by parsers of dialects. Pure."""


def overlap(text: str, marker: str) -> int:
    """Length of the longest end of `text` that begins `marker` without completing it: what has to be held back."""
    return next((n for n in range(min(len(text), len(marker) - 1), 0, -1) if marker.startswith(text[-n:])), 0)
