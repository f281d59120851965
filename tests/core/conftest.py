"""What the tests of core share."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from aiadmin_core.constraint import lark
from aiadmin_core.dialects.dialect import CallGrammar, CallPiece, Dialect
from aiadmin_core.dialects.markers import overlap
from aiadmin_core.specs.content import Tool
from aiadmin_core.specs.request import ToolChoice


@pytest.fixture(scope="session")
def smollm2_tokenizer(smollm2_gguf: Path) -> Iterator[Any]:
    """The real tokenizer: the model's vocabulary without its weights."""
    import llama_cpp

    from aiadmin_core.testing.fake import ByteTokenizer

    parameters = llama_cpp.llama_model_default_params()
    parameters.vocab_only = True
    model = llama_cpp.llama_model_load_from_file(str(smollm2_gguf).encode(), parameters)
    vocab = llama_cpp.llama_model_get_vocab(model)

    class Tokenizer(ByteTokenizer):
        def __init__(self) -> None:
            n = llama_cpp.llama_vocab_n_tokens(vocab)
            texts = {token: llama_cpp.llama_vocab_get_text(vocab, token).decode() for token in range(n)}
            self.n_vocab = n
            self.control_tokens = {
                text: token for token, text in texts.items() if llama_cpp.llama_vocab_is_control(vocab, token)
            }
            self.bos, self.add_bos, self.infill = None, False, None
            self.eos = llama_cpp.llama_vocab_eos(vocab)
            self.end_tokens = frozenset(t for t in range(n) if llama_cpp.llama_vocab_is_eog(vocab, t))
            self.chat_template = llama_cpp.llama_model_chat_template(model, None).decode()

        def encode(self, text: str, *, special: bool) -> list[int]:
            raw = text.encode()
            tokens = (llama_cpp.llama_token * (len(raw) + 8))()
            n = llama_cpp.llama_tokenize(vocab, raw, len(raw), tokens, len(tokens), False, special)
            return list(tokens[:n])

        def piece(self, token: int) -> bytes:
            buffer = llama_cpp.ctypes.create_string_buffer(256)
            n = llama_cpp.llama_token_to_piece(vocab, token, buffer, 256, 0, False)
            return buffer.raw[:n]

        def constraint_vocabulary(self) -> Any:
            from llguidance.llamacpp import lltokenizer_from_vocab

            return lltokenizer_from_vocab(vocab, eos_token=[self.eos])

    yield Tokenizer()
    llama_cpp.llama_model_free(model)


@pytest.fixture(scope="session")
def hermes() -> Any:
    """A dialect of tool calls like that of Hermes and Qwen: JSON between markers."""
    return Hermes()


@pytest.fixture(scope="session")
def free_hermes() -> Any:
    """The same without a grammar: a model may write what it likes."""
    free = Hermes()
    free.call_grammar = lambda tools, choice, control_tokens: None
    return free


OPEN, CLOSE = "<tool_call>", "</tool_call>"
HEAD = re.compile(r'\s*\{\s*"name"\s*:\s*"([^"\\]+)"\s*,\s*"arguments"\s*:\s*')
TAIL = re.compile(r"\}\s*" + re.escape(CLOSE))
HALF_A_TAIL = re.compile(r"\}\s*(?:" + "|".join(re.escape(CLOSE[:n]) for n in range(len(CLOSE))) + r")$")


class Hermes(Dialect):
    name = "hermes"
    calls = True
    markers = (OPEN, CLOSE)

    def recognises(self, template: str) -> bool:
        return OPEN in template

    def parser(self, prompt_tail: str, tools: Sequence[Tool]) -> "HermesParser":
        return HermesParser()

    def call_grammar(self, tools: Sequence[Tool], choice: ToolChoice, control_tokens: Mapping[str, int]) -> CallGrammar:
        body = (
            '"\\n" ('
            + " | ".join(f"call{i}" for i in range(len(tools)))
            + f') "\\n" {lark.marker(CLOSE, control_tokens)}'
        )
        rules = []
        for index, tool in enumerate(tools):
            head = lark.literal(f'{{"name": "{tool.name}", "arguments": ')
            rules += [f'call{index}: {head} arguments{index} "}}"']
            rules += [f"arguments{index}: {lark.json_value(tool.parameters or {'type': 'object'})}"]
        return CallGrammar(opening=OPEN, body=body, rules=tuple(rules), separator="\n")


class HermesParser:
    reasoning = False

    def __init__(self) -> None:
        self.held = ""
        self._take = self._text

    @property
    def n_held(self) -> int:
        return len(self.held)

    def feed(self, text: str) -> list[str | CallPiece]:
        self.held += text
        pieces: list[str | CallPiece] = []
        while self._take(pieces):
            pass
        return pieces

    def end(self, token: str) -> list[str | CallPiece]:
        held, self.held = self.held, ""
        if self._take == self._arguments:
            return [CallPiece(arguments=held[: held.rfind("}")])] if held.rfind("}") > 0 else []
        return [held] if held else []

    def _text(self, pieces: list[str | CallPiece]) -> bool:
        before, found, _ = self.held.partition(OPEN)
        safe = len(before) if found else len(before) - overlap(before, OPEN)
        if safe:
            pieces.append(self.held[:safe])
        self.held = self.held[safe:]
        if found:
            self._take = self._head
        return bool(found)

    def _head(self, pieces: list[str | CallPiece]) -> bool:
        inside = self.held.removeprefix(OPEN)
        if (head := HEAD.match(inside)) and head.end() < len(inside):  # white space after the colon has ended
            pieces.append(CallPiece(name=head[1]))
            self.held = inside[head.end() :]
            self._take = self._arguments
            return True
        if CLOSE in inside:  # no call after all
            text, _, rest = self.held.partition(CLOSE)
            pieces.append(text + CLOSE)
            self.held = rest
            self._take = self._text
            return True
        return False

    def _arguments(self, pieces: list[str | CallPiece]) -> bool:
        if tail := TAIL.search(self.held):
            given, self.held = self.held[: tail.start()], self.held[tail.end() :]
            self._take = self._text
        else:
            half = HALF_A_TAIL.search(self.held)
            safe = half.start() if half else len(self.held)
            given, self.held = self.held[:safe], self.held[safe:]
        if given:
            pieces.append(CallPiece(arguments=given))
        return tail is not None
