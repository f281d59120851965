"""What the tests of core share."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

settings.register_profile("aiadmin", deadline=None)  # a busy machine is no failure
settings.load_profile("aiadmin")

DATA = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Chat templates and JSON schemas of real models and APIs, kept beside the checkout."""
    if not DATA.is_dir():
        pytest.skip(f"there is no {DATA}")
    return DATA


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
            self.bos, self.add_bos = None, False
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
