"""Owner of a loaded model's handle: weights and vocabulary. Made by `backend.open_engine`, shared (read-only, any
thread) by the context and the tokenizer, closed after both."""

import ctypes
from collections.abc import Sequence
from typing import Any

from llama_cpp import llama_cpp as lib

from aiadmin_core.errors import ModelLoadFailed

from . import log
from .devices import handle_of


class Model:
    """Weights and vocabulary in memory.

    `handle` and `vocab` are llama.cpp's pointers, valid until `close`.
    """

    def __init__(
        self,
        paths: Sequence[str],
        *,
        n_gpu_layers: int,
        use_extra_bufts: bool,
        devices: Sequence[str] = (),
        shares: Sequence[float] = (),
    ) -> None:
        """Load the file (or all parts of a split one, in order).

        `n_gpu_layers` below 0 offloads all, to the named `devices` (else to any), each its part of `shares` (else by
        what is free there); `use_extra_bufts` repacks weights for this processor (AMX and friends).
        Raises `ModelLoadFailed` with what llama.cpp logged.
        """
        log.install()
        lib.llama_backend_init()
        params = lib.llama_model_default_params()
        params.n_gpu_layers = n_gpu_layers
        # Devices that hold no layer would still be given matrices to multiply.
        handles = [] if n_gpu_layers == 0 else [handle_of(name) for name in devices]
        ended = (ctypes.c_void_p * (len(handles) + 1))(*handles, None)
        if n_gpu_layers == 0 or handles:
            params.devices = ctypes.cast(ended, ctypes.c_void_p)
        parts = (ctypes.c_float * lib.llama_max_devices())(*shares)
        if shares:
            params.tensor_split = parts
        params.use_extra_bufts = use_extra_bufts
        log.take_errors()
        if len(paths) == 1:
            handle = lib.llama_model_load_from_file(paths[0].encode(), params)
        else:
            array = (ctypes.c_char_p * len(paths))(*(path.encode() for path in paths))
            handle = lib.llama_model_load_from_splits(array, len(paths), params)
        if not handle:
            raise ModelLoadFailed(
                f"llama.cpp cannot load the model: {log.take_errors() or 'it gave no reason'}.",
                hint="The file may be damaged, or of an architecture this llama.cpp does not know: pull the model "
                "again, or upgrade llama-cpp-python.",
            )
        self.handle: Any = handle
        self.vocab: Any = lib.llama_model_get_vocab(handle)
        self.n_vocab: int = lib.llama_vocab_n_tokens(self.vocab)
        self.n_ctx_train: int = lib.llama_model_n_ctx_train(handle)
        self.n_embd: int = lib.llama_model_n_embd(handle)
        self.n_swa: int = lib.llama_model_n_swa(handle)
        """Width of the sliding attention window; 0 without one."""
        self.n_params: int = lib.llama_model_n_params(handle)
        self.size_bytes: int = lib.llama_model_size(handle)

    @property
    def is_decoder(self) -> bool:
        """Whether it has one stack of layers, in llama.cpp's words a decoder: encoder-decoders have two."""
        return bool(lib.llama_model_has_decoder(self.handle)) and not lib.llama_model_has_encoder(self.handle)

    @property
    def is_encoder(self) -> bool:
        """Whether it only reads: every token sees those behind it as well (BERT and its kin)."""
        return self._of_architecture("attention.causal") == "false" and self.is_decoder

    @property
    def pooling(self) -> int | None:
        """How its maker means a text's vectors to become one, as `llama_pooling_type`; None where nothing is said."""
        value = self._of_architecture("pooling_type") or ""
        return int(value) if value.isdecimal() else None

    @property
    def n_classes(self) -> int:
        """Numbers that a model that ranks, or sorts into classes, has for a text."""
        return int(lib.llama_model_n_cls_out(self.handle))

    @property
    def rerank_template(self) -> str | None:
        """How a query and a document are put together, `{query}` and `{document}` standing for them; None where the
        vocabulary says it."""
        template = lib.llama_model_chat_template(self.handle, b"rerank")
        return template.decode("utf-8", "replace") if template else None

    def _of_architecture(self, key: str) -> str | None:
        return self.metadata(f"{self.metadata('general.architecture')}.{key}")

    @property
    def can_trim(self) -> bool:
        """Whether the end of a sequence can be taken out of the cache: a recurrent state has no positions."""
        return not (lib.llama_model_is_recurrent(self.handle) or lib.llama_model_is_hybrid(self.handle))

    def metadata(self, key: str) -> str | None:
        """A value of the file's header as text, or None."""
        size = 256
        while True:
            buffer = ctypes.create_string_buffer(size)
            length = lib.llama_model_meta_val_str(self.handle, key.encode(), buffer, size)
            if length < 0:
                return None
            if length < size:
                return buffer.raw[:length].decode("utf-8", "replace")
            size = length + 1

    @property
    def chat_template(self) -> str | None:
        template = lib.llama_model_chat_template(self.handle, None)
        return template.decode("utf-8", "replace") if template else None

    def close(self) -> None:
        """Free the weights. Nothing may use `handle` or `vocab` afterwards."""
        if self.handle:
            lib.llama_model_free(self.handle)
            self.handle = self.vocab = None
