"""Files written as a whole: the old content is there, or the new.

Layer: formats, over ``loom.storage.atomic``. Invariant: whoever cannot write learns the name and the reason.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from loom.core.errors import FileError
from loom.core.given import path as path_of
from loom.storage.atomic import replace_file

__all__ = ["SAFETENSORS", "path_to_write", "write_file"]

SAFETENSORS = ".safetensors"


def path_to_write(given: str | os.PathLike[str], where: str) -> Path:
    """Return the path of a file to write; a text that names none is told when it is written."""
    return Path(given) if isinstance(given, str) else path_of(given, where)


def write_file(path: Path, data: bytes | Iterator[bytes | memoryview], where: str, *, durable: bool = True) -> None:
    """Write a file, or its parts, as a whole; FileError if it cannot be. ``durable``: it is on the medium then."""
    try:
        replace_file(path, data, durable=durable, seal=getattr(data, "seal", None))
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        why = getattr(error, "strerror", None) or str(error)
        raise FileError(where, f"the file cannot be written ({why})", expected="a name in a folder that can be written",
                        got=str(path)[:200], remedy="Choose another place") from None  # fmt: skip
