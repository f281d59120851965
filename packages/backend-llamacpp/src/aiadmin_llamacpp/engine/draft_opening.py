"""From the files of a draft model to one that guesses. Called by `opening`; closed by the engine."""

from collections.abc import Sequence
from pathlib import Path

from llama_cpp import llama_cpp as lib

from aiadmin_core.errors import AiAdminError, ModelLoadFailed
from aiadmin_core.specs.model import EngineOptions, ModelSpec

from .. import gguf
from ..native.context import Context, ContextSettings
from ..native.model import Model
from .drafting import DraftModel

LEAST_ALIKE = 0.99
"""Share of the vocabulary that has to be the same. Releases of one family differ in a few control tokens, which only
make a guess wrong."""


class Draft:
    """A draft model's weights and context."""

    def __init__(self, model: Model, context: Context, guesses: DraftModel) -> None:
        self._model, self._context = model, context
        self.guesses = guesses

    def close(self) -> None:
        """Free it. Nobody guesses any more."""
        self._context.close()
        self._model.close()


def open_draft(
    spec: ModelSpec,
    options: EngineOptions,
    model: Model,
    target: Context,
    settings: ContextSettings,
    *,
    n_places: int,
    n_gpu_layers: int,
    devices: Sequence[str],
) -> Draft | None:
    """The one that `spec` has files of, for `model`, whose context `target` has these `settings`; it computes with as
    many threads as that one. Raises `ModelLoadFailed` where it cannot guess for it."""
    paths = [file.path for file in spec.files if file.role == "draft"]
    if not paths or options.draft_model is None:
        return None
    if not model.can_trim:
        raise _refused(options, "it cannot guess for a recurrent model, which cannot take a wrong guess back")
    try:
        for path in paths:
            gguf.read_whole(Path(path))
        n_layers = -1 if n_gpu_layers else 0
        small = Model(paths, n_gpu_layers=n_layers, use_extra_bufts=not options.safe_mode, devices=devices)
    except (AiAdminError, OSError) as error:
        raise _refused(options, f"it cannot be loaded: {error}") from error
    try:
        if not small.is_decoder or small.is_encoder or not small.can_trim:
            raise _refused(options, "it is none that generates text token by token from a cache that can be trimmed")
        if (alike := share_alike(_texts(model), _texts(small))) < LEAST_ALIKE:
            raise _refused(options, f"only {alike:.0%} of its vocabulary is that of '{spec.name}'")
        context = Context(small, settings._replace(n_sequences=n_places, rope_scaling="", rope_factor=1.0))
    except BaseException:
        small.close()
        raise
    guesses = DraftModel(context, n_places=n_places, n_vocab=model.n_vocab, n_threads=lambda: target.n_threads)
    return Draft(small, context, guesses)


def share_alike(texts: Sequence[bytes], others: Sequence[bytes]) -> float:
    """Which part of two vocabularies, by the longer of them, has the same text under the same number. Pure."""
    same = sum(one == other for one, other in zip(texts, others, strict=False))
    return same / max(1, len(texts), len(others))


def _texts(model: Model) -> list[bytes]:
    return [lib.llama_vocab_get_text(model.vocab, token) for token in range(model.n_vocab)]


def _refused(options: EngineOptions, why: str) -> ModelLoadFailed:
    return ModelLoadFailed(
        f"'{options.draft_model}' cannot be the draft model: {why}.",
        hint="Take a smaller model of the same family, or leave `draft_model` out.",
    )
