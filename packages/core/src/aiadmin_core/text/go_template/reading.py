"""What a parsed Go template asks for, and the part of it that comes before the answer. Pure; used by `chat`."""

from collections.abc import Iterator

from .nodes import Action, Branch, Include, Node, Operand, Pipe, Template, Word


def names(template: Template) -> frozenset[str]:
    """Every field and variable it names, in lower case."""
    found = [*_names(template.nodes)]
    for nodes in template.defined.values():
        found.extend(_names(nodes))
    return frozenset(name.lower().removeprefix("$") for name in found)


def before_answer(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    """`nodes` up to the action that writes `.Response`, that one included."""
    return _up_to_answer(nodes)[0]


def _up_to_answer(nodes: tuple[Node, ...]) -> tuple[tuple[Node, ...], bool]:
    kept: list[Node] = []
    for node in nodes:
        if isinstance(node, Branch):
            body, found = _up_to_answer(node.body)
            otherwise, found_otherwise = ((), True) if found else _up_to_answer(node.otherwise)
            kept.append(Branch(node.kind, node.pipe, body, otherwise))
            if found or found_otherwise:
                return tuple(kept), True
            continue
        kept.append(node)
        if isinstance(node, Action) and "Response" in _pipe_names(node.pipe):
            return tuple(kept), True
    return tuple(kept), False


def _names(nodes: tuple[Node, ...]) -> Iterator[str]:
    for node in nodes:
        match node:
            case Action():
                yield from _pipe_names(node.pipe)
            case Include() if node.pipe is not None:
                yield from _pipe_names(node.pipe)
            case Branch():
                yield from _pipe_names(node.pipe)
                yield from _names(node.body)
                yield from _names(node.otherwise)


def _pipe_names(pipe: Pipe) -> set[str]:
    return {name for command in pipe.commands for word in command for name in _word_names(word)}


def _word_names(word: Word) -> Iterator[str]:
    if not isinstance(word, Operand):
        return
    if isinstance(word.base, Pipe):
        yield from _pipe_names(word.base)
    elif word.base != ".":
        yield word.base
    yield from word.fields
