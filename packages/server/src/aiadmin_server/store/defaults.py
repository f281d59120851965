"""What a model does where a request leaves it open, and who said so.

A request goes before an alias, an alias before what `aiadmin set` stored, that before what came with the model (its
manifest), and that before what its file recommends. A raw checkpoint of which nobody says how to choose its tokens gets
`FALLBACK`: unchanged distributions, which is what a request without any setting means by itself, make small models talk
gibberish. Used by the store, the resolver and `aiadmin show`.

What `aiadmin set` stores is a small JSON file per name in `aiadmin/defaults/`. It belongs to the name, and stays when
the model is pulled anew.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import Struct

from aiadmin_core.errors import StoreError

from .disk import remove_empty_parents, write_file
from .manifest import encode
from .names import ModelName

FALLBACK = {"temperature": 0.7, "top_k": 40, "top_p": 0.9, "min_p": 0.05}
"""Near what llama.cpp and others take by themselves: the tail of the distribution is cut off."""
CHOOSING = frozenset({"temperature", "top_p", "top_k", "min_p", "typical_p", "mirostat"})
"""Whoever sets one of these has said how tokens are to be chosen."""
RAW_FORMATS = frozenset({"gguf", "safetensors"})


class OwnDefaults(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What `aiadmin set` stored of one name."""

    parameters: dict[str, Any] = {}
    """Sampling by the names of `SamplingParams`, and `num_ctx`."""
    system: str | None = None
    """"" leaves out the system message that came with the model."""
    keep_alive: str | float | None = None


class Default(NamedTuple):
    """A value, and where it comes from, in words."""

    value: Any
    where: str


def sampling_defaults(
    *, file: Mapping[str, Any], model: Mapping[str, Any], own: Mapping[str, Any], model_format: str
) -> dict[str, Default]:
    """The parameters of a model by name, each from whoever counts most. Pure."""
    found = {name: Default(value, "in its file") for name, value in file.items()}
    found |= {name: Default(value, "came with the model") for name, value in model.items()}
    if model_format in RAW_FORMATS and not CHOOSING & found.keys():
        found |= {name: Default(value, "AiAdmin's, for models without any") for name, value in FALLBACK.items()}
    return found | {name: Default(value, "`aiadmin set`") for name, value in own.items()}


_decoder = msgspec.json.Decoder(OwnDefaults)
_NOTHING = OwnDefaults()


class OwnDefaultsFolder:
    """What `aiadmin set` stored, by name. Used by the store alone."""

    def __init__(self, root: Path, scratch: Path) -> None:
        self.root = root
        self.scratch = scratch

    def get(self, name: ModelName) -> OwnDefaults:
        """What is stored of `name`; nothing where that cannot be read, which `read` says."""
        try:
            return self.read(name)
        except StoreError:
            return _NOTHING

    def read(self, name: ModelName) -> OwnDefaults:
        """Raises `StoreError` for a file that cannot be read."""
        path = self._path(name)
        try:
            return _decoder.decode(path.read_bytes())
        except FileNotFoundError:
            return _NOTHING
        except (OSError, ValueError) as error:
            raise StoreError(
                f"The defaults of '{name.display}' in '{path}' cannot be read: {error}.",
                hint="Correct the file, or move it away and set them again.",
            ) from error

    def put(self, name: ModelName, own: OwnDefaults) -> None:
        """Raises `OSError`."""
        if own == _NOTHING:
            self.remove(name)
        else:
            write_file(self._path(name), encode(own), scratch=self.scratch)

    def remove(self, name: ModelName) -> None:
        """Raises `OSError`."""
        path = self._path(name)
        path.unlink(missing_ok=True)
        remove_empty_parents(path, below=self.root)

    def _path(self, name: ModelName) -> Path:
        return self.root.joinpath(*name).with_name(f"{name.tag}.json")
