"""What a manifest says: the JSON in `manifests/<host>/<namespace>/<model>/<tag>`, and the small files it names.

Docker's image manifest, version 2, with the media types that model folders of this layout use. Pure: bytes in, Structs
out. Unknown fields and layers are ignored, so that what a newer program wrote is still listed.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from aiadmin_core.backend import ModelInfo
from aiadmin_core.specs.content import Message, Role, TextPart, plain_text
from aiadmin_core.specs.model import FileRole, ModelFormat

T = TypeVar("T")

MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"
LAYER_TYPE = "application/vnd.ollama.image."
OWN_LAYER_TYPE = "application/vnd.aiadmin.image."
"""Of layers that the layout has no word for; only in manifests that no other program reads."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_SHARED_ROLES: tuple[FileRole, ...] = ("model", "projector", "adapter", "draft")
_ROLE_TYPES: dict[FileRole, str] = {role: LAYER_TYPE + role for role in _SHARED_ROLES} | {
    "tokenizer": OWN_LAYER_TYPE + "tokenizer",
    "config": OWN_LAYER_TYPE + "config",
    "template": OWN_LAYER_TYPE + "template",
}
_TYPE_ROLES = {media_type: role for role, media_type in _ROLE_TYPES.items()}


class Layer(Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """One file of a model, by digest."""

    media_type: str = ""
    digest: str = ""
    size: int = 0
    name: str = ""
    """What the file is called inside its model, in manifests only we read."""
    path: str = ""
    """Absolute, of a file that stays outside the store; only in manifests only we read."""

    @property
    def role(self) -> FileRole | None:
        """What the file is to its model; None for text layers and those of other programs."""
        return _TYPE_ROLES.get(self.media_type)


class Manifest(Struct, frozen=True, kw_only=True, rename="camel"):
    """What a name stands for."""

    schema_version: int = 2
    media_type: str = MANIFEST_TYPE
    config: Layer = Layer()
    layers: tuple[Layer, ...] = ()

    def text_layer(self, kind: str) -> Layer | None:
        """The first layer of `kind` ("system", "params", "license", ...)."""
        return next((layer for layer in self.layers if layer.media_type == LAYER_TYPE + kind), None)

    def text_layers(self, kind: str) -> list[Layer]:
        """All of them."""
        return [layer for layer in self.layers if layer.media_type == LAYER_TYPE + kind]

    @property
    def all_layers(self) -> tuple[Layer, ...]:
        """Its config, where it has one, and its layers."""
        return (*([self.config] if self.config.digest else []), *self.layers)

    @property
    def digests(self) -> frozenset[str]:
        """Of every blob this manifest needs."""
        return frozenset(layer.digest for layer in self.all_layers if not layer.path)


class Config(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The config blob: what programs of this layout show of a model without opening it."""

    model_format: str = ""
    model_family: str = ""
    model_families: tuple[str, ...] | None = None
    model_type: str = ""
    """Parameters, for people: "134.52M"."""
    file_type: str = ""
    """Quantization: "Q4_1"."""
    requires: str = ""
    """The least version of Ollama that its maker asks for."""
    renderer: str = ""
    """Which program of Ollama's takes the template's place; `parser` the same for what the model writes."""
    parser: str = ""


ABOUT = ("requires", "renderer", "parser")
"""Fields of `Config` that say nothing of the files."""


class Said(Struct, frozen=True, kw_only=True):
    """One of the messages that stand before every conversation."""

    role: Role
    content: str


class StoredInfo(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the model's header said when it was pulled; 0 and "" mean unknown."""

    architecture: str = ""
    n_params: int = 0
    n_ctx_train: int = 0
    n_embd: int = 0
    quantization: str = ""
    parameter_size: str = ""
    """`n_params` for people."""
    parameters: dict[str, Any] = {}
    """How the file recommends to sample."""


_manifest_decoder = msgspec.json.Decoder(Manifest)
_config_decoder = msgspec.json.Decoder(Config)
_messages_decoder = msgspec.json.Decoder(tuple[Said, ...])
_params_decoder = msgspec.json.Decoder(dict[str, Any])
_encoder = msgspec.json.Encoder()


def decode_manifest(data: bytes) -> Manifest:
    """Raises `ValueError` for what is no manifest, or names a file by anything but a digest."""
    manifest = _decode(_manifest_decoder, data)
    for layer in (manifest.config, *manifest.layers):
        if not (layer is manifest.config and not layer.digest) and not is_digest(layer.digest):
            raise ValueError(f"'{layer.digest[:80]}' is no sha256 digest")
    return manifest


def encode(value: Struct | Mapping[str, Any]) -> bytes:
    """As it is written to disk."""
    return _encoder.encode(value)


def decode_config(data: bytes) -> Config:
    """Raises `ValueError`."""
    return _decode(_config_decoder, data)


def decode_params(data: bytes) -> dict[str, Any]:
    """The params layer. Raises `ValueError`."""
    return _decode(_params_decoder, data)


def _decode(decoder: msgspec.json.Decoder[T], data: bytes) -> T:
    try:
        return decoder.decode(data)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def is_digest(text: str) -> bool:
    return _DIGEST.fullmatch(text) is not None


def digest_of(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def media_type(role: FileRole) -> str:
    """The media type of a file layer."""
    return _ROLE_TYPES[role]


def is_shared_role(role: FileRole) -> bool:
    """Whether the layout has a word for this role, so that other programs can read a manifest with it."""
    return role in _SHARED_ROLES


def decode_messages(data: bytes) -> tuple[Message, ...]:
    """The messages layer. Raises `ValueError`."""
    said = _decode(_messages_decoder, data)
    return tuple(Message(role=one.role, content=(TextPart(one.content),)) for one in said)


def encode_messages(messages: tuple[Message, ...]) -> bytes:
    """As the layer has them; they are texts."""
    return _encoder.encode([Said(role=one.role, content=plain_text(one.content)) for one in messages])


def config_of(model_format: ModelFormat, info: ModelInfo | None, about: Mapping[str, str] = {}) -> bytes:
    """The config blob of a model we write."""
    family = info.architecture if info else ""
    config = Config(
        model_format=model_format,
        model_family=family,
        model_families=(family,) if family else None,
        model_type=human_count(info.n_params) if info else "",
        file_type=info.quantization if info else "",
        **{name: about[name] for name in ABOUT if about.get(name)},
    )
    # Readers of this layout expect an image config: a platform and a root file system, empty here.
    fixed = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}
    return encode(msgspec.to_builtins(config) | fixed)


def format_of(manifest: Manifest, config: Config | None) -> ModelFormat:
    """What kind of files a manifest names; "other" for what no backend can be asked to open."""
    if manifest.text_layer("model") is None:
        return "remote" if config is not None and config.model_format == "remote" else "other"
    return config.model_format if config is not None and config.model_format else "gguf"


def stored_info(info: ModelInfo | None) -> StoredInfo:
    if info is None:
        return StoredInfo()
    return StoredInfo(
        architecture=info.architecture,
        n_params=info.n_params,
        n_ctx_train=info.n_ctx_train,
        n_embd=info.n_embd,
        quantization=info.quantization,
        parameter_size=human_count(info.n_params),
        parameters=dict(info.parameters or {}),
    )


def info_of(config: Config | None) -> StoredInfo:
    """What a config blob tells, for models that another program pulled."""
    if config is None:
        return StoredInfo()
    return StoredInfo(architecture=config.model_family, quantization=config.file_type, parameter_size=config.model_type)


def human_count(n: int) -> str:
    """134515008 -> "134.52M"; "" for 0."""
    if n <= 0:
        return ""
    for unit, size in (("T", 10**12), ("B", 10**9), ("M", 10**6), ("K", 10**3)):
        if n >= size:
            return f"{n / size:.2f}".rstrip("0").rstrip(".") + unit
    return str(n)
