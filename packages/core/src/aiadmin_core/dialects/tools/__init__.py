"""Dialects of tool calls, one file a family."""
