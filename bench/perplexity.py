"""What a type of cache costs in quality: the perplexity of this repository's docs, for each type, by the low-level API.

    python bench/perplexity.py --model model.gguf [--types f16 bf16/f16 q8_0] [--tokens 8192]

The text is read in windows of 512 tokens, each into an empty cache; the second half of a window is what counts. A model
that is trained on texts behind a first token of their own (Gemma's BOS) gets it in each window.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from aiadmin_llamacpp.cache_type import CACHE_TYPES
from aiadmin_llamacpp.native.batch import Batch
from aiadmin_llamacpp.native.context import Context, ContextSettings
from aiadmin_llamacpp.native.model import Model
from aiadmin_llamacpp.tokenizer import LlamaTokenizer

DOCS = Path(__file__).parents[1] / "docs"
WINDOW = 512


def losses(context: Context, tokens: np.ndarray, *, first: list[int]) -> Iterator[float]:
    """-log p of each token of the second halves. `first`: what each window begins with, beside its part of the text."""
    batch = Batch(WINDOW)
    n_text = WINDOW - len(first)
    for start in range(0, len(tokens) - n_text + 1, n_text):
        window = np.array([*first, *tokens[start : start + n_text]], np.int32)
        context.clear()
        batch.clear()
        batch.add(0, window, 0, rows=list(range(WINDOW // 2, WINDOW)))
        context.decode(batch)
        logits = np.asarray(context.logits(WINDOW // 2), np.float64)[:-1]
        top = logits.max(axis=1)
        total = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
        yield from total - logits[np.arange(len(logits)), window[WINDOW // 2 + 1 :]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True, help="a GGUF file")
    parser.add_argument("--types", nargs="+", choices=CACHE_TYPES, default=[*CACHE_TYPES])
    parser.add_argument("--tokens", type=int, default=8192, help="of the text")
    options = parser.parse_args()
    model = Model([str(options.model)], n_gpu_layers=0, use_extra_bufts=True)
    text = "\n".join(path.read_text() for path in sorted(DOCS.rglob("*.md")) if "_build" not in path.parts)
    tokenizer = LlamaTokenizer(model)
    first = [tokenizer.bos] if tokenizer.add_bos and tokenizer.bos is not None else []
    tokens = np.array(tokenizer.encode(text, special=False)[: options.tokens], np.int32)
    for name in options.types:
        context = Context(model, ContextSettings(WINDOW, WINDOW, 1, 2, name))
        print(f"{name:10} {np.exp(np.mean(list(losses(context, tokens, first=first)))):.3f}", flush=True)
        context.close()


if __name__ == "__main__":
    main()
