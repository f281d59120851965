"""The type of arguments that name a model: shells complete them from the store and the aliases. Light: every verb that
takes a model has it."""

import click
from click.shell_completion import CompletionItem


class ModelName(click.ParamType[str]):
    """Any text is taken: what it means, the resolver says."""

    name = "model"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG002 - click's signature
        """Names that begin like it. A shell that completes must never see an error."""
        try:
            names = _known()
        except Exception:
            return []
        return [CompletionItem(name) for name in names if name.lower().startswith(incomplete.lower())]


def _known() -> list[str]:
    from ..settings import load_settings
    from ..store.aliases import Aliases
    from ..store.names import short_name
    from ..store.patterns import is_pattern
    from ..store.store import ModelStore

    store = ModelStore(load_settings().models)
    aliases = [name for name in Aliases(store.aliases_path).all() if not is_pattern(name)]
    return sorted({*(short_name(model.name) for model in store.models()), *aliases})


MODEL = ModelName()
