"""Text between a conversation and tokens, both ways. Used by `assemble` in the runner, off the engine thread."""
