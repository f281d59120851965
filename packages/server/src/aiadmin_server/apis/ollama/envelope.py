"""How Ollama tells an error: `{"error": "..."}`, with the words that its clients look for."""

from ...http.problem import Problem

_ABLE = {"tools": "tools", "think": "thinking", "suffix": "insert"}
"""What a model is said not to support, by the field that asks for it."""


def envelope(problem: Problem) -> dict[str, str]:
    """Clients try again without a field where they read `does not support tools` or `thinking`."""
    lacks = _ABLE.get(problem.param or "") if problem.code == "unsupported_parameter" else None
    return {"error": f"The model does not support {lacks}. {problem.message}" if lacks else problem.message}
