"""What is wrong with a template, and where."""


class GoTemplateError(ValueError):
    """A template that cannot be read, or not be rendered. Its message names line and construct."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"line {line}: {message}")
