"""SentencePiece's own file, `tokenizer.model`, where a folder has no tokenizer.json. Read by `vocabulary`.

The format is sentencepiece_model.proto of https://github.com/google/sentencepiece; its types of pieces are those of
llama.cpp (llama_token_type in llama.h).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from .tensors import broken, read_json

FILE = "tokenizer.model"

BYTE = 6
"""Pieces of one byte: llama.cpp ends the process where it meets an unknown character and has none."""


class Pieces(NamedTuple):
    """One for each token, by id."""

    texts: list[str]
    scores: list[float]
    types: list[int]
    space_prefix: bool
    """Whether a text is read as if a space stood before it."""
    special: dict[str, int]
    """`bos`, `eos`, `unk`, `pad`: ids."""
    objection: str
    """Why llama.cpp would read texts otherwise; "" where it would not."""


def read_pieces(path: Path) -> Pieces:
    """Raises `BadRequest` for a file that is none."""
    from google.protobuf.message import DecodeError
    from sentencepiece import sentencepiece_model_pb2  # 0.1 s

    messages: Any = sentencepiece_model_pb2
    model = messages.ModelProto()
    try:
        model.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise broken(path) from error
    trained, normalizer = model.trainer_spec, model.normalizer_spec
    if not model.pieces:
        raise broken(path)
    ids = {"bos": trained.bos_id, "eos": trained.eos_id, "unk": trained.unk_id, "pad": trained.pad_id}
    return Pieces(
        texts=[piece.piece for piece in model.pieces],
        scores=[piece.score for piece in model.pieces],
        types=[piece.type for piece in model.pieces],
        space_prefix=normalizer.add_dummy_prefix,
        special={name: index for name, index in ids.items() if 0 <= index < len(model.pieces)},
        objection=_objection(
            is_bpe=trained.model_type == messages.TrainerSpec.BPE,
            rewrites=bool(normalizer.precompiled_charsmap),
            strips=normalizer.remove_extra_whitespaces,
            has_bytes=any(piece.type == BYTE for piece in model.pieces),
        ),
    )


def added_tokens(folder: Path, settings: Mapping[str, Any]) -> dict[int, tuple[str, bool]]:
    """Tokens beside the pieces, by id: text, and whether it is a special one. From tokenizer_config.json, and the older
    added_tokens.json, which does not say."""
    path = folder / "added_tokens.json"
    older = read_json(path) if path.is_file() else {}
    found = {index: (text, True) for text, index in older.items()}
    for index, one in (settings.get("added_tokens_decoder") or {}).items():
        found[int(index)] = (one["content"], bool(one.get("special")))
    return found


def _objection(*, is_bpe: bool, rewrites: bool, strips: bool, has_bytes: bool) -> str:
    if not is_bpe:
        return "its SentencePiece model is none of BPE"
    if rewrites:
        return "its SentencePiece model rewrites characters"
    if strips:
        return "its SentencePiece model takes spaces away"
    return "" if has_bytes else "its SentencePiece model has no bytes for characters that it does not know"
