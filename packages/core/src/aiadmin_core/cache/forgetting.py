"""Removing the files of parked prompts of one model. Imports nothing of weight: whoever removes models uses it."""

import shutil
from contextlib import suppress
from pathlib import Path

OWNER = "model"
"""The file in a folder of parcels that says whose they are: the digest of the model's weights."""


def forget(folder: Path, model: str) -> None:
    """Remove all parcels in the folders below `folder` of the model whose weights have this digest. Never raises: what
    is left goes when it is the oldest."""
    for owner in folder.glob(f"*/{OWNER}"):
        with suppress(OSError, ValueError):
            if model and owner.read_text() == model:
                shutil.rmtree(owner.parent, ignore_errors=True)
