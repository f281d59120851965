"""Dialects of tool calls.

How a family writes its calls (Hermes, Llama 3, Mistral, Qwen, ...) is read off its chat template by `derive`: no file
names it. A family whose calls cannot be read so has a file of its own; `generic` is for templates that write none.
"""
