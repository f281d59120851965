"""BERT encoders as sentence-transformers publishes them, computed with MLX: mlx-lm has none.

https://arxiv.org/abs/1810.04805; names of tensors as transformers writes them. `Bert` belongs to the thread it was made
on, the embedder's.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import mlx.core as mx
import numpy as np
import numpy.typing as npt

from aiadmin_core.errors import BadRequest, ModelLoadFailed

from .padding import Tokens, of_like_lengths, padded
from .safetensors import read_json

POOLING, MODULES = "1_Pooling/config.json", "modules.json"
_ACTIVATIONS: dict[str, Callable[[mx.array], mx.array]] = {
    "gelu": lambda x: x * 0.5 * (1 + mx.erf(x / math.sqrt(2))),
    "gelu_new": lambda x: x * 0.5 * (1 + mx.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "relu": lambda x: mx.maximum(x, 0),
}
_MODULES = ("Transformer", "Pooling", "Normalize")
"""Of sentence-transformers, the steps that a text's vector may take here."""


class Bert:
    """The weights of one encoder, and how it makes a text's vectors one."""

    def __init__(self, folder: Path, *, n_most: int, n_sequences: int) -> None:
        """Load what lies in `folder`. Raises `ModelLoadFailed` for weights that are missing, `BadRequest` for a variant
        that is computed otherwise."""
        config = read_json(folder / "config.json")
        self.n_most, self.n_sequences = n_most, n_sequences
        self._n_layers, self._n_heads = int(config["num_hidden_layers"]), int(config["num_attention_heads"])
        self._epsilon = float(config.get("layer_norm_eps", 1e-12))
        self._activate = _ACTIVATIONS[check_variant(folder, config)]
        self._pool = _POOLS[pooling(folder)]
        self._weights: dict[str, mx.array] = {}
        for path in sorted(folder.glob("*.safetensors")):
            read: dict[str, mx.array] = mx.load(str(path))
            self._weights |= {name.removeprefix("bert."): tensor.astype(mx.float32) for name, tensor in read.items()}
        mx.eval(self._weights)
        self._closing = False

    def embed(self, inputs: Sequence[Tokens]) -> list[npt.NDArray[np.float32]]:
        """A row of any length for each input; those of like lengths are read together."""
        rows: list[npt.NDArray[np.float32]] = [np.empty(0, np.float32)] * len(inputs)
        for group in of_like_lengths([len(tokens) for tokens in inputs]):
            if self._closing:
                raise InterruptedError("The model is being unloaded.")
            found = self._vectors([inputs[index] for index in group])
            for index, row in zip(group, found, strict=True):
                rows[index] = row
        return rows

    def interrupt(self) -> None:
        """Stop before what is begun next. Any thread."""
        self._closing = True

    def close(self) -> None:
        """Free the weights."""
        self._weights.clear()
        mx.clear_cache()

    def _vectors(self, inputs: Sequence[Tokens]) -> npt.NDArray[np.float32]:
        """float32[len(inputs), n_embd]"""
        tokens, mask = padded(inputs)
        return np.array(self._pool(self._hidden(tokens, mask), mask[..., None]), np.float32)

    def _hidden(self, tokens: mx.array, mask: mx.array) -> mx.array:
        """float32[n, longest, n_embd]: the last layer's vector of every token."""
        x = self["embeddings.word_embeddings.weight"][tokens]
        x = x + self["embeddings.position_embeddings.weight"][: tokens.shape[1]]
        x = self._norm(x + self["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        for layer in range(self._n_layers):
            name = f"encoder.layer.{layer}"
            mixed = self._dense(self._attention(x, mask, f"{name}.attention.self"), f"{name}.attention.output.dense")
            x = self._norm(x + mixed, f"{name}.attention.output.LayerNorm")
            wide = self._activate(self._dense(x, f"{name}.intermediate.dense"))
            x = self._norm(x + self._dense(wide, f"{name}.output.dense"), f"{name}.output.LayerNorm")
        return x

    def _attention(self, x: mx.array, mask: mx.array, name: str) -> mx.array:
        """Every token looks at every one of its own text."""
        n, longest, n_embd = x.shape
        q, k, v = (
            self._dense(x, f"{name}.{part}").reshape(n, longest, self._n_heads, -1).swapaxes(1, 2)
            for part in ("query", "key", "value")
        )
        scale = (n_embd // self._n_heads) ** -0.5
        mixed = mx.fast.scaled_dot_product_attention(q, k, v, scale=scale, mask=mask[:, None, None, :])
        return mixed.swapaxes(1, 2).reshape(n, longest, n_embd)

    def _dense(self, x: mx.array, name: str) -> mx.array:
        return x @ self[f"{name}.weight"].T + self[f"{name}.bias"]

    def _norm(self, x: mx.array, name: str) -> mx.array:
        return mx.fast.layer_norm(x, self[f"{name}.weight"], self[f"{name}.bias"], self._epsilon)

    def __getitem__(self, name: str) -> mx.array:
        try:
            return self._weights[name]
        except KeyError:
            raise ModelLoadFailed(
                f"The model's files hold no {name}, which a BERT has.", hint="Fetch the files again."
            ) from None


_POOLS: dict[str, Callable[[mx.array, mx.array], mx.array]] = {
    "mean_tokens": lambda x, mask: (x * mask).sum(axis=1) / mask.sum(axis=1),
    "cls_token": lambda x, _: x[:, 0],
    "max_tokens": lambda x, mask: mx.where(mask, x, -mx.inf).max(axis=1),
}
"""(vectors [n, longest, n_embd], which of them are tokens [n, longest, 1]) -> [n, n_embd]."""


def pooling(folder: Path) -> str:
    """How the vectors of a text's tokens become one; by the mean where nothing is said. Raises `BadRequest`."""
    config = read_json(folder / POOLING) if (folder / POOLING).is_file() else {"pooling_mode_mean_tokens": True}
    modes = [key.removeprefix("pooling_mode_") for key, value in config.items() if value is True]
    wanted = [mode for mode in modes if mode != "include_prompt"]
    if len(wanted) != 1 or wanted[0] not in _POOLS:
        raise BadRequest(
            f"This model pools by {', '.join(wanted) or 'nothing'}.", hint=f"One of {', '.join(_POOLS)} can be served."
        )
    return wanted[0]


def check_variant(folder: Path, config: Mapping[str, Any]) -> str:
    """The name of its activation. Raises `BadRequest` for an encoder that is computed otherwise than `Bert` does."""
    activation = str(config.get("hidden_act", "gelu"))
    if activation not in _ACTIVATIONS:
        raise BadRequest(f"This BERT has hidden_act {activation!r}; {', '.join(_ACTIVATIONS)} can be served.")
    if (positions := config.get("position_embedding_type", "absolute")) != "absolute":
        raise BadRequest(f"This BERT has position_embedding_type {positions!r}; only 'absolute' can be served.")
    if (folder / MODULES).is_file():
        steps = _steps(folder / MODULES)
        if others := [step for step in steps if step not in _MODULES]:
            raise BadRequest(f"This model goes on with {', '.join(others)} after pooling, which cannot be served.")
    return activation


def _steps(path: Path) -> list[str]:
    """The steps that modules.json lists: `sentence_transformers.models.Pooling`, and so on."""
    try:
        return [str(step["type"]).rpartition(".")[2] for step in json.loads(path.read_text(encoding="utf-8"))]
    except (ValueError, KeyError, TypeError) as error:
        raise BadRequest(f"{path.name} cannot be read: {error}.", hint="Fetch the model's files again.") from error
