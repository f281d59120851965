"""A rendered prompt: segments of token ids and of media, in the order the model reads them."""

from typing import Literal

from msgspec import Struct


class TokenSegment(Struct, frozen=True, tag="tokens", array_like=True):
    """Token ids of the model's own vocabulary."""

    tokens: tuple[int, ...]


class MediaSegment(Struct, frozen=True, tag="media", array_like=True):
    """An image or a sound, encoded by the model's own projector when it is decoded."""

    kind: Literal["image", "audio"]
    digest: str
    """`sha256:<hex>` of the media's bytes: what a cached prefix is compared by."""
    data: bytes
    n_positions: int
    """How many positions of the context it takes."""


Segment = TokenSegment | MediaSegment
Prompt = tuple[Segment, ...]
