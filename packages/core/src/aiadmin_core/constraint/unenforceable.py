"""The error of schemas that cannot be enforced."""

from ..errors import BadRequest


class Unenforceable(ValueError):
    """`pointer` (a JSON pointer as a fragment, RFC 6901) is the keyword that cannot be enforced."""

    def __init__(self, pointer: str, why: str) -> None:
        super().__init__(f"{pointer}: {why}")
        self.pointer = pointer
        self.why = why

    def refusal(self, param: str) -> BadRequest:
        """What a client is told whose schema it is."""
        return BadRequest(
            f"The JSON schema cannot be enforced at {self.pointer}: {self.why}.",
            hint="Leave out what is named there, or ask for a simpler format.",
            param=param,
        )
