"""Which files of a repository make the model. Pure.

Repositories of GGUF files have one for each quantization (or several, where it is split); others have safetensors with
the files beside them.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from aiadmin_core.errors import PullFailed
from aiadmin_core.specs.model import FileRole

from ..local import CONFIG_FILES, POOLING_FILE, SPLIT, TOKENIZER_FILES

PREFERRED = (
    "Q4_K_M", "UD-Q4_K_XL", "Q4_K_S", "MXFP4", "MXFP4_MOE", "IQ4_XS", "IQ4_NL", "Q4_0", "Q4_1", "Q5_K_M", "Q5_K_S",
    "Q5_0", "Q5_1", "Q6_K", "Q8_0", "Q3_K_L", "Q3_K_M", "Q3_K_S", "IQ3_M", "Q2_K", "BF16", "F16", "F32",
)  # fmt: skip
"""What is taken where nobody says: four bits with mixed types lose little and are read fast. The first that fits."""
SAFETENSORS = "safetensors"
MAX_NAMED = 24
_LABEL = re.compile(
    r"(?:^|[-._/])((?:UD-)?(?:I?Q\d+(?:_[A-Z0-9]+)*|TQ\d_\d|BF16|F(?:P)?16|F(?:P)?32|MXFP4(?:_MOE)?))$", re.IGNORECASE
)


Needed = Callable[[int], int]
"""Bytes of memory that weights of so many bytes take."""


class RemoteFile(NamedTuple):
    name: str
    """Path inside the repository."""
    size: int
    digest: str = ""
    """"" for small files, which are not known by one."""


class Variant(NamedTuple):
    """One of the GGUF models in a repository."""

    label: str
    """Its quantization, in capitals; the file's name without one."""
    files: tuple[RemoteFile, ...]
    """More than one where it is split."""

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)


class Chosen(NamedTuple):
    model_format: str
    label: str
    """For the model's tag; "" where there is nothing to tell apart."""
    files: tuple[tuple[FileRole, RemoteFile], ...]


def choose(files: Sequence[RemoteFile], tag: str, *, repo: str, memory_bytes: int, needed: Needed) -> Chosen:
    """The files for `tag`; without one, the best that fits into `memory_bytes`. Raises `PullFailed`, which says what
    there is."""
    found = variants(files)
    weights = [file for file in files if file.name.endswith(".safetensors") and "/" not in file.name]
    if tag.lower() == SAFETENSORS or (not found and weights):
        if tag and tag.lower() != SAFETENSORS:
            raise PullFailed(f"'{repo}' has no GGUF files, and so no '{tag}'.", hint="Leave the tag out.")
        return Chosen("safetensors", "", _safetensors(files, weights, repo))
    if not found:
        raise PullFailed(
            f"'{repo}' holds no model that can be used: neither GGUF files nor safetensors.",
            hint=f"Look for a repository with GGUF in its name: `aiadmin search {PurePosixPath(repo).name}`.",
        )
    chosen = _named(found, tag, repo) if tag else best(found, memory_bytes, needed)
    model: list[tuple[FileRole, RemoteFile]] = [("model", file) for file in chosen.files]
    return Chosen("gguf", chosen.label, (*model, *_projector(files)))


def variants(files: Sequence[RemoteFile]) -> list[Variant]:
    """The GGUF models, smallest first."""
    groups: dict[str, list[RemoteFile]] = {}
    for file in files:
        path = PurePosixPath(file.name)
        if path.suffix.lower() != ".gguf" or _is_beside(path.name):
            continue
        split = SPLIT.fullmatch(path.name)
        stem = str(path.with_name(split[1])) if split else str(path.with_suffix(""))
        groups.setdefault(stem, []).append(file)
    found = [Variant(label_of(stem), tuple(sorted(group))) for stem, group in groups.items()]
    return sorted(found, key=lambda one: (one.size, one.label))


def label_of(stem: str) -> str:
    """The quantization in a file's name without its suffix; that name where there is none."""
    match = _LABEL.search(stem)
    if match is None:
        return PurePosixPath(stem).name
    return {"FP16": "F16", "FP32": "F32"}.get(match[1].upper(), match[1].upper())


def best(found: Sequence[Variant], memory_bytes: int, needed: Needed) -> Variant:
    """The first of `PREFERRED` that fits into memory, else the largest that does, else the smallest there is."""
    fitting = [one for one in found if not memory_bytes or needed(one.size) <= memory_bytes]
    by_label = {one.label: one for one in reversed(fitting)}
    for label in PREFERRED:
        if label in by_label:
            return by_label[label]
    return fitting[-1] if fitting else found[0]


def _named(found: Sequence[Variant], tag: str, repo: str) -> Variant:
    for one in found:
        names = {one.label, *(file.name for file in one.files), *(PurePosixPath(file.name).name for file in one.files)}
        if tag.lower() in {name.lower() for name in names}:
            return one
    labels = ", ".join(f"{one.label} ({one.size / 1e9:.1f} GB)" for one in found[:MAX_NAMED])
    raise PullFailed(
        f"'{repo}' has no '{tag}'. It has: {labels}.", hint=f"Name one of them: `hf.co/{repo}:{found[0].label}`."
    )


def _projector(files: Sequence[RemoteFile]) -> list[tuple[FileRole, RemoteFile]]:
    """What makes a model see, where there is one: in half precision, as its makers recommend."""
    found = [file for file in files if "mmproj" in file.name.lower() and file.name.lower().endswith(".gguf")]
    found.sort(key=lambda file: ("BF16" in file.name.upper(), "F16" not in file.name.upper(), file.size))
    return [("projector", found[0])] if found else []


def _is_beside(name: str) -> bool:
    """A GGUF file that is no model by itself."""
    return "mmproj" in name.lower() or "imatrix" in name.lower()


def _safetensors(
    files: Sequence[RemoteFile], weights: Sequence[RemoteFile], repo: str
) -> tuple[tuple[FileRole, RemoteFile], ...]:
    by_name = {file.name: file for file in files}
    # Some repositories have the weights a second time, as their maker's own code wants them.
    own = [file for file in weights if not file.name.startswith(("consolidated", "adapter"))] or list(weights)
    if not own or "config.json" not in by_name:
        raise PullFailed(
            f"'{repo}' has no whole model in safetensors.",
            hint="It needs config.json beside the weights; an adapter is no model by itself.",
        )
    found: list[tuple[FileRole, RemoteFile]] = [("model", file) for file in own]
    for file in files:
        if "/" in file.name and file.name != POOLING_FILE:
            continue
        if TOKENIZER_FILES.fullmatch(file.name):
            found.append(("tokenizer", file))
        elif CONFIG_FILES.fullmatch(file.name) or file.name == POOLING_FILE:
            found.append(("config", file))
    return tuple(found)
