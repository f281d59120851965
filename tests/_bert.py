"""What a BERT's vectors are, computed with numpy from the weights its maker published. Loaded by conftest.py."""

import json
from math import erf

import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer


class Reference:
    """BERT by its paper (https://arxiv.org/abs/1810.04805), the mean over tokens, length 1; a text at a time."""

    def __init__(self, folder):
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        self.weights = load_file(folder / "model.safetensors")
        self.config = json.loads((folder / "config.json").read_text())

    def tokens(self, text):
        return self.tokenizer.encode(text).ids

    def dense(self, x, name):
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def norm(self, x, name):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + self.config["layer_norm_eps"])
        return x * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def vector(self, tokens):
        tables = {name: self.weights[f"embeddings.{name}_embeddings.weight"] for name in ("word", "position")}
        kinds = self.weights["embeddings.token_type_embeddings.weight"]
        x = tables["word"][tokens] + tables["position"][: len(tokens)] + kinds[0]
        x = self.norm(x, "embeddings.LayerNorm")
        n_heads = self.config["num_attention_heads"]
        for layer in range(self.config["num_hidden_layers"]):
            name = f"encoder.layer.{layer}"
            q, k, v = (
                self.dense(x, f"{name}.attention.self.{part}").reshape(len(x), n_heads, -1).swapaxes(0, 1)
                for part in ("query", "key", "value")
            )
            scores = q @ k.swapaxes(1, 2) / np.sqrt(q.shape[-1])
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            mixed = (weights / weights.sum(-1, keepdims=True) @ v).swapaxes(0, 1).reshape(len(x), -1)
            x = self.norm(x + self.dense(mixed, f"{name}.attention.output.dense"), f"{name}.attention.output.LayerNorm")
            hidden = self.dense(x, f"{name}.intermediate.dense")
            hidden = hidden * 0.5 * (1 + np.vectorize(erf)(hidden / np.sqrt(2)))
            x = self.norm(x + self.dense(hidden, f"{name}.output.dense"), f"{name}.output.LayerNorm")
        mean = x.mean(0)
        return mean / np.linalg.norm(mean)
