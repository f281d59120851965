"""A Go template's source as nodes. Pure; used by `chat`."""

from collections.abc import Collection
from typing import Any

from .errors import GoTemplateError
from .lexer import Piece, Token, pieces
from .nodes import Action, Branch, Call, Include, Jump, Literal, Node, Operand, Pipe, Template, Text, Word

_MAX_DEPTH = 100
_KEYWORDS = frozenset({"break", "block", "continue", "define", "else", "end", "if", "range", "template", "with"})


def parse(source: str, functions: Collection[str]) -> Template:
    """`functions` are the names that may be called. Raises `GoTemplateError`."""
    return _Parser(source, functions).template()


class _Parser:
    def __init__(self, source: str, functions: Collection[str]) -> None:
        self._pieces = list(pieces(source))
        self._next = 0
        self._functions = functions
        self._defined: dict[str, tuple[Node, ...]] = {}
        self._variables: list[str] = ["$"]
        self._n_ranges = 0
        self._depth = 0
        self._includes: list[Include] = []

    def template(self) -> Template:
        nodes, closer = self._nodes()
        if closer is not None:
            raise GoTemplateError(closer.line, f"unexpected '{closer.first}'")
        for include in self._includes:
            if include.name not in self._defined:
                raise GoTemplateError(include.line, f'no template "{include.name}" is defined')
        return Template(nodes, self._defined)

    def _nodes(self) -> "tuple[tuple[Node, ...], _Words | None]":
        """Everything up to an `end` or `else`, which comes back, or to the end of the source."""
        self._depth += 1
        found: list[Node] = []
        while self._next < len(self._pieces):
            piece = self._pieces[self._next]
            self._next += 1
            if piece.tokens is None:
                found.append(Text(piece.text))
                continue
            words = _Words(piece)
            if self._depth > _MAX_DEPTH:
                raise GoTemplateError(piece.line, "actions are nested too deeply")
            if words.first in ("end", "else"):
                self._depth -= 1
                return tuple(found), words
            node = self._action(words)
            if node is not None:
                found.append(node)
        self._depth -= 1
        return tuple(found), None

    def _action(self, words: "_Words") -> Node | None:
        match words.first:
            case "if" | "with" | "range":
                return self._branch(words)
            case "define":
                self._define(words, words.string_after_keyword())
                return None
            case "block":
                name = words.string_after_keyword()
                pipe = self._pipe(words)
                self._define(words, name)
                return self._include(name, pipe, words.line)
            case "template":
                name = words.string_after_keyword()
                return self._include(name, None if words.over else self._pipe(words), words.line)
            case "break" | "continue" as kind:
                words.take()
                words.finish()
                if not self._n_ranges:
                    raise GoTemplateError(words.line, f"'{kind}' stands outside of 'range'")
                return Jump(kind)
        return Action(self._pipe(words))

    def _include(self, name: str, pipe: Pipe | None, line: int) -> Include:
        include = Include(name, pipe, line)
        self._includes.append(include)
        return include

    def _define(self, words: "_Words", name: str) -> None:
        words.finish()
        variables, self._variables = self._variables, ["$"]
        n_ranges, self._n_ranges = self._n_ranges, 0
        nodes, closer = self._nodes()
        _expect_end(closer, words)
        self._defined[name] = nodes
        self._variables, self._n_ranges = variables, n_ranges

    def _branch(self, words: "_Words") -> Branch:
        kind = words.take().text
        n_variables = len(self._variables)
        pipe = self._pipe(words, in_range=kind == "range")
        self._n_ranges += kind == "range"
        body, closer = self._nodes()
        self._n_ranges -= kind == "range"
        otherwise: tuple[Node, ...] = ()
        if closer is not None and closer.first == "else":
            otherwise = self._otherwise(closer, words)
        else:
            _expect_end(closer, words)
        del self._variables[n_variables:]
        return Branch(kind, pipe, body, otherwise)

    def _otherwise(self, closer: "_Words", opener: "_Words") -> tuple[Node, ...]:
        closer.take()
        if not closer.over:  # `else if`, `else with`: a branch of its own, closed by the same `end`
            if closer.first not in ("if", "with"):
                raise GoTemplateError(closer.line, f"unexpected '{closer.first}' after 'else'")
            self._depth += 1
            if self._depth > _MAX_DEPTH * 5:
                raise GoTemplateError(closer.line, "there are too many 'else if'")
            inner = self._branch(closer)
            self._depth -= 1
            return (inner,)
        nodes, end = self._nodes()
        _expect_end(end, opener)
        return nodes

    # Pipelines.

    def _pipe(self, words: "_Words", *, in_range: bool = False, inside: bool = False) -> Pipe:
        """Up to the end of the action, or `inside` parentheses up to the closing one."""
        line = words.line
        declares, assigns = self._declared(words, in_range=in_range)
        commands = [self._command(words)]
        while words.accept("|"):
            commands.append(self._command(words))
        if inside:
            words.expect(")")
        else:
            words.finish()
        for command in commands[1:]:
            if not isinstance(command[0], Call | Operand):
                raise GoTemplateError(line, "what stands behind '|' must be a function")
        if not assigns:
            self._variables.extend(declares)
        return Pipe(tuple(commands), declares, assigns, line)

    def _declared(self, words: "_Words", *, in_range: bool) -> tuple[tuple[str, ...], bool]:
        names = words.declared(most=2 if in_range else 1)
        if not names:
            return (), False
        assigns = words.take().text == "="
        for name in names if assigns else ():
            self._known(name, words.line)
        return names, assigns

    def _command(self, words: "_Words") -> tuple[Word, ...]:
        found: list[Word] = []
        while not words.over and words.peek.text not in _STOPS_OF[words.peek.kind]:
            if found and not words.peek.spaced and words.peek.text != "(":
                raise GoTemplateError(words.line, f"unexpected '{words.peek.text}' behind another operand")
            found.append(self._word(words))
        if not found:
            raise GoTemplateError(words.line, "an action has nothing to evaluate")
        first = found[0]
        if len(found) > 1 and isinstance(first, Literal):
            raise GoTemplateError(words.line, "only a function takes arguments")
        return tuple(found)

    def _word(self, words: "_Words") -> Word:
        token = words.take()
        match token.kind:
            case "string":
                return self._with_fields(words, Literal(token.text), token)
            case "number":
                return Literal(_number(token))
            case "bool":
                return Literal(token.text == "true")
            case "dot":
                return Operand(".", (), token.line)
            case "field":
                return Operand(".", (token.text, *words.fields()), token.line)
            case "variable":
                self._known(token.text, token.line)
                return Operand(token.text, words.fields(), token.line)
            case "name" if token.text == "nil":
                return Literal(None)
            case "name" if token.text in self._functions:
                return Call(token.text, token.line)
            case "name" if token.text in _KEYWORDS:
                raise GoTemplateError(token.line, f"unexpected '{token.text}' in an action")
            case "name":
                raise GoTemplateError(token.line, f"there is no function '{token.text}'")
            case "mark" if token.text == "(":
                self._depth += 1
                if self._depth > _MAX_DEPTH:
                    raise GoTemplateError(token.line, "parentheses are nested too deeply")
                pipe = self._pipe(words, inside=True)
                self._depth -= 1
                return Operand(pipe, words.fields(), token.line)
        raise GoTemplateError(token.line, f"unexpected '{token.text}' in an action")

    def _with_fields(self, words: "_Words", literal: Literal, token: Token) -> Literal:
        if words.fields():
            raise GoTemplateError(token.line, "a string has no fields")
        return literal

    def _known(self, name: str, line: int) -> None:
        if name not in self._variables:
            raise GoTemplateError(line, f"the variable {name} is not declared")


_STOPS_OF: dict[str, tuple[str, ...]] = dict.fromkeys(
    ("field", "variable", "name", "number", "string", "bool", "dot"), ()
) | {"mark": ("|", ")")}


class _Words:
    """The tokens of one action, taken one by one."""

    def __init__(self, piece: Piece) -> None:
        self._tokens = piece.tokens or ()
        self._position = 0
        self.line = piece.line

    @property
    def over(self) -> bool:
        return self._position >= len(self._tokens)

    @property
    def peek(self) -> Token:
        return self._tokens[self._position]

    @property
    def first(self) -> str:
        """The next word, where it is a name."""
        return self.peek.text if not self.over and self.peek.kind == "name" else ""

    def take(self) -> Token:
        if self.over:
            raise GoTemplateError(self.line, "an action ends too early")
        token = self.peek
        self._position += 1
        return token

    def accept(self, mark: str) -> bool:
        if self.over or self.peek.kind != "mark" or self.peek.text != mark:
            return False
        self._position += 1
        return True

    def expect(self, mark: str) -> None:
        if not self.accept(mark):
            raise GoTemplateError(self.line, f"'{mark}' is missing")

    def finish(self) -> None:
        if not self.over:
            raise GoTemplateError(self.line, f"unexpected '{self.peek.text}' in an action")

    def fields(self) -> tuple[str, ...]:
        """Those that follow without white space."""
        found: list[str] = []
        while not self.over and self.peek.kind == "field" and not self.peek.spaced:
            found.append(self.take().text)
        return tuple(found)

    def declared(self, *, most: int) -> tuple[str, ...]:
        """The variables in front of `:=` or `=`, which is next then; none where there is neither."""
        texts = [token.text if token.kind in ("variable", "mark") else "" for token in self._tokens[self._position :]]
        for count, pattern in ((1, texts[:2]), (2, texts[:4])):
            if len(pattern) == 2 * count and pattern[-1] in (":=", "=") and all(p == "," for p in pattern[1:-1:2]):
                names = tuple(pattern[:-1:2])
                if any(not name.startswith("$") or name == "$" for name in names):
                    break
                if count > most:
                    raise GoTemplateError(self.line, "only 'range' declares two variables")
                self._position += 2 * count - 1
                return names
        return ()

    def string_after_keyword(self) -> str:
        keyword = self.take().text
        if self.over or self.peek.kind != "string":
            raise GoTemplateError(self.line, f"'{keyword}' needs a name in quotes")
        return self.take().text


def _expect_end(closer: _Words | None, opener: _Words) -> None:
    if closer is None:
        raise GoTemplateError(opener.line, "an action is never ended: '{{ end }}' is missing")
    if closer.first != "end":
        raise GoTemplateError(closer.line, f"unexpected '{closer.first}'")
    closer.take()
    closer.finish()


def _number(token: Token) -> Any:
    text = token.text.replace("_", "")
    try:
        return int(text, 0)
    except ValueError:
        pass
    try:
        return int(text, 8) if text.lstrip("+-").startswith("0") and text.lstrip("+-").isdigit() else float(text)
    except ValueError as error:
        raise GoTemplateError(token.line, f"'{token.text}' is no number") from error
