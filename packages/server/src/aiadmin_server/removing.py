"""Removing a model with all that was kept for it. Used by `aiadmin rm` and by `/api/delete`."""

from aiadmin_core.cache.forgetting import forget

from .settings import Settings
from .store.store import ModelStore


def remove_model(name: str, store: ModelStore, settings: Settings) -> int:
    """Forget a name; where it was the last one of its weights, also what was computed of prompts for them: nobody could
    use it, and it may be read like prompts. Returns the bytes that the store has freed.

    Raises what `ModelStore.remove` raises.
    """
    model = store.find(name)
    n_bytes = store.remove(name)
    if model is not None and all(other.weights_digest != model.weights_digest for other in store.models()):
        forget(settings.prefixes, model.weights_digest)
    return n_bytes
