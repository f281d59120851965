"""`images` of a message or prompt: base64, without a word on what it holds. Pure."""

import base64
import binascii
from collections.abc import Sequence

from aiadmin_core.errors import BadRequest
from aiadmin_core.specs.content import AudioPart, ImagePart


def media_parts(images: Sequence[str] | None, path: str) -> tuple[ImagePart | AudioPart, ...]:
    """Images, and sound, which comes in the same field. `path` names it in a `BadRequest`."""
    return tuple(_part(_decoded(text, f"{path}[{index}]")) for index, text in enumerate(images or ()))


def _part(data: bytes) -> ImagePart | AudioPart:
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return AudioPart(data=data, format="wav")
    if data[:3] == b"ID3" or (data[:1] == b"\xff" and data[1:2] in (b"\xfb", b"\xf3", b"\xf2")):
        return AudioPart(data=data, format="mp3")
    return ImagePart(
        data=data, media_type=next((kind for kind, start in _IMAGES.items() if data.startswith(start)), "")
    )


_IMAGES = {"image/png": b"\x89PNG", "image/jpeg": b"\xff\xd8\xff", "image/gif": b"GIF8", "image/webp": b"RIFF"}
"""How files of a type begin."""


def _decoded(text: str, path: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadRequest(f"'{path}' is not valid base64: {error}.", param=path) from None
