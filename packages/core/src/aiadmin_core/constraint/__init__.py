"""Answers that keep to a format: one llguidance grammar, one mask a step. In the runner only, `enforced`
aside; imported late."""
