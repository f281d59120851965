"""What an offered model will take of the memory, from the beginnings of its files. Used by `offers`, before the rest of
them is fetched."""

import logging
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx

from aiadmin_core.backend import MemoryEstimate
from aiadmin_core.errors import AiAdminError, BadRequest
from aiadmin_core.sources import Offer, OfferedFile, ShowsBeginnings
from aiadmin_core.specs.model import ModelFile, ModelSpec

from .local import GGUF_MAGIC

logger = logging.getLogger(__name__)

Estimate = Callable[[ModelSpec], MemoryEstimate | None]
"""What a model takes, by the headers of its files. Raises `BadRequest` where one is not whole."""

HEADER_BYTES = (1 << 20, 16 << 20, 64 << 20)
"""How much of a GGUF is looked at, until its header is in it: vocabularies take most of it, 1 to 20 MB."""
CONFIG_BYTES = 1 << 20
"""Most of a file of settings."""


def foretold(name: str, offer: Offer, held: Mapping[str, Path], estimate: Estimate) -> MemoryEstimate | None:
    """What `estimate` says of the model; None where it cannot be known before the files are here. `held` has files that
    need not be fetched, by digest."""
    first = next((file for file in offer.files if file.role == "model"), None)
    if first is None or not isinstance(offer, ShowsBeginnings):
        return None

    def beginning(file: OfferedFile, n_bytes: int) -> bytes:
        path = held.get(file.digest)
        if path is None:
            return offer.beginning(file, n_bytes)
        with path.open("rb") as whole:
            return whole.read(n_bytes)

    try:
        with tempfile.TemporaryDirectory(prefix="aiadmin-beginnings-") as folder:
            if beginning(first, len(GGUF_MAGIC)) == GGUF_MAGIC:
                return _of_gguf(name, offer, first, Path(folder), beginning, estimate)
            return _of_safetensors(name, offer, Path(folder), beginning, estimate)
    except (AiAdminError, httpx.HTTPError, OSError) as error:
        logger.debug("What %s takes is not known beforehand: %s", name, error)
        return None


def _of_gguf(
    name: str,
    offer: Offer,
    first: OfferedFile,
    folder: Path,
    beginning: Callable[[OfferedFile, int], bytes],
    estimate: Estimate,
) -> MemoryEstimate | None:
    path = folder / "model.gguf"
    files = tuple(
        ModelFile(role=file.role, path=str(path if file is first else folder / "other"), size=file.size)
        for file in offer.files
    )
    for n_bytes in HEADER_BYTES:
        path.write_bytes(beginning(first, n_bytes))
        try:
            return estimate(ModelSpec(name=name, digest=first.digest, format="gguf", files=files))
        except BadRequest:  # the header is longer
            if path.stat().st_size < n_bytes:
                raise
    return None


def _of_safetensors(
    name: str, offer: Offer, folder: Path, beginning: Callable[[OfferedFile, int], bytes], estimate: Estimate
) -> MemoryEstimate | None:
    files = []
    for number, file in enumerate(offer.files):
        path = folder / str(number)
        if file.role == "config" and 0 < file.size <= CONFIG_BYTES:
            path.write_bytes(beginning(file, CONFIG_BYTES))
        files.append(ModelFile(role=file.role, path=str(path), size=file.size, name=file.name))
    return estimate(ModelSpec(name=name, digest="", format="safetensors", files=tuple(files)))
