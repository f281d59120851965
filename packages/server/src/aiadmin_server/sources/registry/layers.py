"""What the layers of a registry's manifest are to a model. Pure.

Two vocabularies are read: that of Ollama's layout, whose manifests are stored as they come, and Docker's for models
(https://www.docker.com/blog/oci-artifacts-for-ai-model-packaging/), of which the store makes a manifest of its own.
"""

from pathlib import PurePosixPath

from msgspec import Struct

from aiadmin_core.errors import PullFailed
from aiadmin_core.specs.model import FileRole

from ...store.manifest import Layer, decode_manifest

MAX_TEXT_BYTES = 1 << 20
"""Of a layer that is no file: a template, a license."""
DOCKER_ROLES: dict[str, FileRole] = {
    "application/vnd.docker.ai.gguf.v3": "model",
    "application/vnd.docker.ai.mmproj": "projector",
    "application/vnd.docker.ai.gguf.v3.lora": "adapter",
}
DOCKER_LICENSE = "application/vnd.docker.ai.license"
TENSOR_TYPE = "application/vnd.ollama.image.tensor"


class Contents(Struct, frozen=True, kw_only=True):
    """A manifest, sorted."""

    files: tuple[tuple[FileRole, Layer], ...]
    texts: tuple[Layer, ...]
    """Small ones, its config among them."""
    is_ours: bool
    """Of the layout that the store keeps as it is."""


def read_contents(data: bytes, what: str) -> Contents:
    """Sort the manifest of `what`, which errors name. Raises `PullFailed` for what is no model that can be used."""
    try:
        manifest = decode_manifest(data)
    except ValueError as error:
        raise PullFailed(f"The manifest of '{what}' cannot be read ({error}).", hint="Check the name.") from None
    if any(layer.media_type == TENSOR_TYPE for layer in manifest.layers):
        raise PullFailed(
            f"'{what}' is stored tensor by tensor, which only the program that made it reads.",
            hint="Pull the model as a GGUF, or as safetensors from a hub: `hf.co/ORGANISATION/REPOSITORY`.",
        )
    for layer in manifest.all_layers:
        if layer.path or PurePosixPath(layer.name).is_absolute() or ".." in PurePosixPath(layer.name).parts:
            raise PullFailed(
                f"The manifest of '{what}' names files outside the model.", hint="Do not use it, and tell its registry."
            )
    docker = any(layer.media_type in DOCKER_ROLES for layer in manifest.layers)
    files = tuple((role, layer) for layer in manifest.layers if (role := role_of(layer)) is not None)
    if not any(role == "model" for role, _ in files):
        raise PullFailed(
            f"'{what}' is no model: its manifest has no layer with weights.",
            hint="Check the name; models that run in a cloud, and images for containers, cannot be pulled.",
        )
    rest = [layer for layer in manifest.all_layers if role_of(layer) is None]
    for layer in rest:
        if layer.size > MAX_TEXT_BYTES and not docker:
            raise PullFailed(
                f"'{what}' has a layer of the kind '{layer.media_type}', which AiAdmin does not know.",
                hint="A newer AiAdmin may know it.",
            )
    return Contents(files=files, texts=_texts(rest, docker=docker), is_ours=not docker)


def role_of(layer: Layer) -> FileRole | None:
    """None for what is no file of a model."""
    return DOCKER_ROLES.get(layer.media_type) or layer.role


def _texts(rest: list[Layer], *, docker: bool) -> tuple[Layer, ...]:
    return tuple(layer for layer in rest if not docker or layer.media_type == DOCKER_LICENSE)
