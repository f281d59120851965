"""Models from this machine's own disk: a GGUF file, or a folder of safetensors.

`file:` takes the files into the store (a hard link where the disk allows it), `link:` leaves them where they are.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

from aiadmin_core.errors import PullFailed
from aiadmin_core.sources import FetchedFile, FetchedModel, Progress
from aiadmin_core.specs.model import FileRole

GGUF_MAGIC = b"GGUF"
MODEL_ENDS = (".gguf", ".safetensors")
TOKENIZER_FILES = re.compile(
    r"tokenizer.*|vocab\..*|merges\.txt|added_tokens\.json|special_tokens_map\.json|chat_template\..*|.*\.tiktoken|"
    r"spiece\.model|sentencepiece.*",
    re.IGNORECASE,
)
CONFIG_FILES = re.compile(r".*\.json", re.IGNORECASE)
POOLING_FILE = "1_Pooling/config.json"
"""How sentence-transformers make a text's vectors one: the only thing that counts in a folder of its own."""
SPLIT = re.compile(r"(.*)-(\d{5})-of-(\d{5})\.gguf", re.IGNORECASE)


class LocalSource:
    """`file:PATH` and, with `in_place`, `link:PATH`. Paths without a scheme are `file:`'s."""

    def __init__(self, *, in_place: bool = False) -> None:
        self.in_place = in_place
        self.scheme = "link" if in_place else "file"

    def claims(self, reference: str) -> bool:
        """Whether it looks like a path: whether it exists is for `fetch` to say."""
        if self.in_place or not reference or "://" in reference:
            return False
        looks = reference.startswith((".", "/", "~", "\\")) or reference.lower().endswith(MODEL_ENDS)
        return looks or re.match(r"[A-Za-z]:[\\/]", reference) is not None or _is_there(reference)

    def origin(self, reference: str) -> str:
        """The path, in the store or not: `link:` after `file:` is a change of place, not of model."""
        return f"file:{local_path(reference)}"

    def fetch(
        self,
        reference: str,
        *,
        workdir: Path,  # noqa: ARG002 - the protocol's: the files are on this machine already
        progress: Callable[[Progress], None],  # noqa: ARG002 - the same
        expected_digest: str = "",  # noqa: ARG002 - the store verifies it
    ) -> FetchedModel:
        """Name the model's files; nothing is read but a few bytes. Raises `PullFailed`."""
        path = local_path(reference)
        if path.is_dir():
            return FetchedModel(
                files=tuple(self._file(file, role, name_in(path, file)) for file, role in safetensors_files(path)),
                format="safetensors",
                suggested_name=suggest_name(path.name),
                origin=self.origin(reference),
            )
        if not path.is_file():
            raise PullFailed(f"There is no file or folder '{path}'.", hint="Check the path.")
        parts = gguf_files(path)
        if len(parts) > 1 and not self.in_place:
            raise PullFailed(
                f"'{path.name}' is one of {len(parts)} parts of a model, which belong side by side.",
                hint=f"Leave them where they are: `aiadmin pull link:{path}`. Or make one file of them with "
                "`llama-gguf-split --merge`.",
            )
        return FetchedModel(
            files=tuple(self._file(part, "model") for part in parts),
            format="gguf",
            suggested_name=suggest_name(path.stem),
            origin=self.origin(reference),
        )

    def fetch_as(self, reference: str, model_format: str) -> FetchedModel:
        """Name the files of a model in a backend's own format: the one, or all in the folder."""
        path = local_path(reference)
        present = [path]
        if path.is_dir():
            present = sorted(one for one in path.iterdir() if one.is_file() and not one.name.startswith("."))
        return FetchedModel(
            files=tuple(self._file(one, "model") for one in present),
            format=model_format,
            suggested_name=suggest_name(path.name if path.is_dir() else path.stem),
            origin=self.origin(reference),
        )

    def _file(self, path: Path, role: FileRole, name: str = "") -> FetchedFile:
        return FetchedFile(path=path, role=role, name=name or path.name, keep_in_place=self.in_place)


def name_in(folder: Path, path: Path) -> str:
    """What a file is called in its model."""
    return path.relative_to(folder).as_posix()


def local_path(reference: str) -> Path:
    """The absolute path that `PATH`, `~/PATH` or `//host/PATH` (of a file URL) means."""
    if reference.startswith("//"):
        return Path(url2pathname(unquote(urlsplit(reference).path))).absolute()
    try:
        return Path(os.path.normpath(Path(reference).expanduser().absolute()))
    except RuntimeError:
        raise PullFailed(f"There is no home folder for '~' in '{reference}'.", hint="Write the whole path.") from None


def gguf_files(path: Path) -> list[Path]:
    """The file, or all parts of the split model it belongs to, first to last. Raises `PullFailed`."""
    try:
        with path.open("rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise PullFailed(f"'{path}' cannot be read ({error.strerror}).", hint="Check its permissions.") from error
    if magic != GGUF_MAGIC:
        raise PullFailed(
            f"'{path}' is no model: it does not start as a GGUF file does.",
            hint="A model is a GGUF file, or a folder with config.json and *.safetensors.",
        )
    split = SPLIT.fullmatch(path.name)
    if split is None:
        return [path]
    stem, n_parts = split[1], int(split[3])
    parts = [path.with_name(f"{stem}-{index:05}-of-{n_parts:05}.gguf") for index in range(1, n_parts + 1)]
    missing = [part.name for part in parts if not part.is_file()]
    if missing:
        raise PullFailed(
            f"'{path.name}' is one of {n_parts} parts, and {len(missing)} are not beside it: {', '.join(missing[:3])}.",
            hint="Put all parts into one folder.",
        )
    return parts


def safetensors_files(folder: Path) -> list[tuple[Path, FileRole]]:
    """The files of a model in `folder`, weights first, each with its role. Raises `PullFailed`."""
    present = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    weights = [path for path in present if path.suffix.lower() == ".safetensors"]
    names = {path.name for path in present}
    lacking = [
        what for what, there in (("*.safetensors", weights), ("config.json", "config.json" in names)) if not there
    ]
    if lacking:
        raise PullFailed(
            f"The folder '{folder}' holds no model: {' and '.join(lacking)} missing.",
            hint="A model folder has config.json, *.safetensors and tokenizer files; a GGUF model is one file.",
        )
    found: list[tuple[Path, FileRole]] = [(path, "model") for path in weights]
    for path in present:
        if TOKENIZER_FILES.fullmatch(path.name):
            found.append((path, "tokenizer"))
        elif CONFIG_FILES.fullmatch(path.name):
            found.append((path, "config"))
    pooling = folder / POOLING_FILE
    return [*found, (pooling, "config")] if pooling.is_file() else found


def _is_there(text: str) -> bool:
    """Whether a text that may be a name as well is a path. A folder by chance of a model's name, without one in it, is
    none."""
    if os.path.isfile(text) or ("/" in text and os.path.exists(text)):  # noqa: PTH110, PTH113 - Path's raise for long texts
        return True
    return os.path.isdir(text) and any(any(Path(text).glob(f"*{end}")) for end in MODEL_ENDS)  # noqa: PTH112


def suggest_name(text: str) -> str:
    """A model name made of a file's: `SmolLM2 135M.Q4_1` -> `smollm2-135m.q4_1`."""
    name = re.sub(r"[^a-z0-9_.-]+", "-", text.lower()).lstrip("-.")[:80].rstrip("-.")
    return name or "model"
