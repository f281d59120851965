"""Dialects of reasoning: most families differ by their markers only."""

from .marked import MarkedReasoning

REASONING = (
    MarkedReasoning("think", "<think>", "</think>"),
    MarkedReasoning("seed", "<seed:think>", "</seed:think>"),
    MarkedReasoning("minimax", "<mm:think>", "</mm:think>"),
    MarkedReasoning("mistral", "[THINK]", "[/THINK]"),
    MarkedReasoning("cohere", "<|START_THINKING|>", "<|END_THINKING|>"),
    MarkedReasoning("gemma", "<|channel>thought", "<channel|>", markers=("<|channel>", "<channel|>")),
)
"""Ours, each recognised by its end marker."""
