"""A parsed Go template, written for some values. Pure; used by `chat`."""

from collections.abc import Iterator, Mapping
from typing import Any

from .errors import GoTemplateError
from .functions import FUNCTIONS, LAZY
from .nodes import Action, Branch, Call, Include, Jump, Literal, Node, Operand, Pipe, Template, Text, Word
from .values import Record, is_true, written

_MAX_DEPTH = 50
_MAX_CHARACTERS = 100_000_000
_MAX_STEPS = 5_000_000
"""A template is a stranger's program."""
_ABSENT = object()


def evaluate(template: Template, root: Mapping[str, Any]) -> str:
    """Raises `GoTemplateError`."""
    run = _Run(template.defined)
    run.write(template.nodes, root, [("$", root)])
    return "".join(run.pieces)


class _Jumped(Exception):
    def __init__(self, kind: str) -> None:
        self.kind = kind


Variables = list[tuple[str, Any]]
"""Innermost last."""


class _Run:
    def __init__(self, defined: Mapping[str, tuple[Node, ...]]) -> None:
        self._defined = defined
        self._depth = 0
        self._n_characters = self._n_steps = 0
        self.pieces: list[str] = []

    def write(self, nodes: tuple[Node, ...], dot: Any, variables: Variables) -> None:
        self._n_steps += 1 + len(nodes)
        if self._n_steps > _MAX_STEPS:
            raise GoTemplateError(0, "the template works without end")
        for node in nodes:
            match node:
                case Text():
                    self._put(node.text)
                case Action():
                    value = self._value(node.pipe, dot, variables)
                    if not node.pipe.declares:
                        self._put(written(value))
                case Branch():
                    n_variables = len(variables)
                    self._branch(node, dot, variables)
                    del variables[n_variables:]
                case Include():
                    self._include(node, dot, variables)
                case Jump():
                    raise _Jumped(node.kind)

    def _put(self, text: str) -> None:
        self._n_characters += len(text)
        if self._n_characters > _MAX_CHARACTERS:
            raise GoTemplateError(0, "the template writes without end")
        self.pieces.append(text)

    def _branch(self, node: Branch, dot: Any, variables: Variables) -> None:
        if node.kind == "range":
            self._range(node, dot, variables)
            return
        value = self._value(node.pipe, dot, variables)
        if is_true(value):
            self.write(node.body, value if node.kind == "with" else dot, variables)
        else:
            self.write(node.otherwise, dot, variables)

    def _range(self, node: Branch, dot: Any, variables: Variables) -> None:
        pipe = node.pipe
        items = list(_items(self._commands(pipe, dot, variables), pipe.line))
        if not items:
            self.write(node.otherwise, dot, variables)
            return
        n_variables = len(variables)
        for index, item in items:
            values = {0: (), 1: (item,), 2: (index, item)}[len(pipe.declares)]
            for name, value in zip(pipe.declares, values, strict=True):
                _set(variables, name, value, assigns=pipe.assigns)
            try:
                self.write(node.body, item, variables)
            except _Jumped as jumped:
                if jumped.kind == "break":
                    break
            finally:
                del variables[n_variables:]

    def _include(self, node: Include, dot: Any, variables: Variables) -> None:
        value = None if node.pipe is None else self._value(node.pipe, dot, variables)
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise GoTemplateError(node.line, f'the template "{node.name}" includes itself without end')
        self.write(self._defined[node.name], value, [("$", value)])
        self._depth -= 1

    # Pipelines.

    def _value(self, pipe: Pipe, dot: Any, variables: Variables) -> Any:
        value = self._commands(pipe, dot, variables)
        for name in pipe.declares:
            _set(variables, name, value, assigns=pipe.assigns)
        return value

    def _commands(self, pipe: Pipe, dot: Any, variables: Variables) -> Any:
        value: Any = _ABSENT
        for command in pipe.commands:
            value = self._command(command, value, dot, variables)
        return value

    def _command(self, words: tuple[Word, ...], piped: Any, dot: Any, variables: Variables) -> Any:
        first, *others = words
        if isinstance(first, Call):
            return self._call(first, others, piped, dot, variables)
        value = self._word(first, dot, variables)
        if others or piped is not _ABSENT:
            raise GoTemplateError(_line_of(first), f"{_shown(first)} is no function and takes no arguments")
        return value

    def _call(self, call: Call, words: list[Word], piped: Any, dot: Any, variables: Variables) -> Any:
        if call.name in LAZY:
            return self._lazy(call, words, piped, dot, variables)
        arguments = [self._word(word, dot, variables) for word in words]
        if piped is not _ABSENT:
            arguments.append(piped)
        try:
            return FUNCTIONS[call.name](*arguments)
        except (TypeError, ValueError, RecursionError) as error:
            raise GoTemplateError(call.line, f"'{call.name}' fails: {_reason(error, len(arguments))}") from error

    def _lazy(self, call: Call, words: list[Word], piped: Any, dot: Any, variables: Variables) -> Any:
        value: Any = _ABSENT
        for word in words:
            value = self._word(word, dot, variables)
            if is_true(value) is (call.name == "or"):
                return value
        if piped is not _ABSENT:
            return piped
        if value is _ABSENT:
            raise GoTemplateError(call.line, f"'{call.name}' needs an operand")
        return value

    def _word(self, word: Word, dot: Any, variables: Variables) -> Any:
        match word:
            case Literal():
                return word.value
            case Call():
                return self._call(word, [], _ABSENT, dot, variables)
        match word.base:
            case ".":
                value = dot
            case str():
                value = next(value for name, value in reversed(variables) if name == word.base)
            case _:
                value = self._value(word.base, dot, variables)
        for field in word.fields:
            value = _field(value, field, word.line)
        return value


def _field(value: Any, field: str, line: int) -> Any:
    """Maps have nothing where a key is missing; records have their fields and no others."""
    match value:
        case Mapping():
            return value.get(field)
        case Record():
            if field not in value.fields:
                raise GoTemplateError(line, f"{value.name} has no field '.{field}'")
            return value.fields[field]
        case None:
            return None
    raise GoTemplateError(line, f"'{written(value)[:40]}' has no field '.{field}'")


def _items(value: Any, line: int) -> Iterator[tuple[Any, Any]]:
    match value:
        case None:
            return iter(())
        case list() | tuple():
            return iter(enumerate(value))
        case Mapping():
            return iter(sorted(value.items()))
        case bool():
            pass
        case int() if value <= 100_000:
            return ((index, index) for index in range(value))
    raise GoTemplateError(line, f"'range' has nothing to go through in '{written(value)[:40]}'")


def _set(variables: Variables, name: str, value: Any, *, assigns: bool) -> None:
    if not assigns:
        variables.append((name, value))
        return
    for index in range(len(variables) - 1, -1, -1):
        if variables[index][0] == name:
            variables[index] = (name, value)
            return


def _line_of(word: Word) -> int:
    return getattr(word, "line", 0)


def _shown(word: Word) -> str:
    if isinstance(word, Operand) and isinstance(word.base, str):
        return f"'{word.base if word.base != '.' else ''}{''.join('.' + field for field in word.fields)}'"
    return "a value"


def _reason(error: Exception, n_arguments: int) -> str:
    text = str(error)
    if isinstance(error, TypeError) and "positional argument" in text:
        return f"{n_arguments} operands are not what it takes"
    return "its operand is nested too deeply" if isinstance(error, RecursionError) else text
