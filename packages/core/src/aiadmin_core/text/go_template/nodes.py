"""What a Go template is made of, once it is read."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Literal:
    """A string, number, boolean or nil."""

    value: Any


@dataclass(frozen=True, slots=True)
class Operand:
    """`.`, `.A.B`, `$x.A`, `(pipeline).A`: where to begin, and the fields to follow."""

    base: "Pipe | str"
    """"." for the current value, `$...` for a variable."""
    fields: tuple[str, ...]
    line: int


@dataclass(frozen=True, slots=True)
class Call:
    """A function by name, as the first word of a command or alone."""

    name: str
    line: int


Word = Literal | Operand | Call


@dataclass(frozen=True, slots=True)
class Pipe:
    """`$a, $b := command | command`."""

    commands: tuple[tuple[Word, ...], ...]
    declares: tuple[str, ...] = ()
    assigns: bool = False
    """`=`, not `:=`."""
    line: int = 0


@dataclass(frozen=True, slots=True)
class Action:
    pipe: Pipe


@dataclass(frozen=True, slots=True)
class Branch:
    """`if`, `with`, `range`."""

    kind: str
    pipe: Pipe
    body: "tuple[Node, ...]"
    otherwise: "tuple[Node, ...]" = ()


@dataclass(frozen=True, slots=True)
class Jump:
    """`break` or `continue`."""

    kind: str


@dataclass(frozen=True, slots=True)
class Include:
    """`template "name" pipeline`."""

    name: str
    pipe: Pipe | None
    line: int


Node = Text | Action | Branch | Jump | Include


@dataclass(frozen=True)
class Template:
    nodes: tuple[Node, ...]
    defined: dict[str, tuple[Node, ...]]
    """By `define` and `block`."""
