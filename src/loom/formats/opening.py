"""Opens a checkpoint, whatever it is kept in.

Layer: formats. Invariant: what a source is follows from what it is: a folder, or the first bytes of a file; a name only
tells better what is refused.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loom.core.errors import DTypeError, FileError
from loom.core.given import is_mapping
from loom.core.given import path as path_of
from loom.formats.checkpoint import Checkpoint, StoredTensor
from loom.formats.folder import DiskFolder, MemoryFolder, read_folder, refuse_pickle
from loom.formats.gguf import MAGIC, read_gguf_file
from loom.formats.json_text import load_json
from loom.formats.safetensors import is_safetensors, read_safetensors
from loom.formats.stored_weights import with_scales
from loom.formats.whole_files import map_file

__all__ = ["CONFIG_KEY", "GGUF_KEY", "Checkpoint", "Opened", "open_checkpoint"]

GGUF_KEY, CONFIG_KEY = "loom.gguf", "loom.config"
"""Metadata: keys and values of the GGUF file, or the config.json, that a file was converted from."""

Opened = str | os.PathLike[str] | bytes | bytearray | memoryview | Mapping[str, Any] | Checkpoint
"""What is opened."""
_WHERE = "loom.models.files"


def open_checkpoint(source: Opened) -> Checkpoint:
    """Return the checkpoint of a model's folder or file, or of its bytes; weights are read when they are asked for.

    ``source``: a folder as it is downloaded from the HuggingFace hub (config.json, model.safetensors or its shards), a
    .safetensors or .gguf file, the bytes of such a file, or a folder's files in memory (name -> bytes). Bytes are not
    copied: leave them as they are. A checkpoint is returned as it is.

    FileError for what cannot be read, is damaged or incomplete, or is no such file. Nothing outside the folder is read.

    >>> header = b'{"w": {"dtype": "F16", "shape": [2], "data_offsets": [0, 4]}}'
    >>> checkpoint = open_checkpoint(len(header).to_bytes(8, "little") + header + bytes(4))
    >>> checkpoint.kind, checkpoint.tensors["w"].encoding, checkpoint.tensors["w"].read().tolist()
    ('safetensors', 'F16', [0.0, 0.0])
    """
    if isinstance(source, Checkpoint):
        return source
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _of_bytes(_view(source, _WHERE), "bytes", f"{_WHERE}, bytes")
    if is_mapping(source):
        files = {str(name): _view(data, f"{_WHERE}, {name!r}") for name, data in source.items()}
        return read_folder(MemoryFolder(files, f"{_WHERE}, files in memory"), "files in memory")
    path = path_of(source, f"{_WHERE}, source")
    where = f"{_WHERE}, {path.name or path}"
    if path.is_dir():
        return read_folder(DiskFolder(path, where), str(path))
    if not os.path.lexists(path):
        raise FileError(where, "no such file or folder", expected="a model's folder, a .safetensors or a .gguf",
                        got=str(path)[:200], remedy="Check the path: Loom downloads nothing. To get a model of the "
                        "HuggingFace hub: hf download NAME --local-dir FOLDER")  # fmt: skip
    return _of_bytes(map_file(path, where), str(path), where)


def _as_it_was(tensors: dict[str, StoredTensor], told: dict[str, str], source: str, where: str) -> Checkpoint:
    """Return the checkpoint of a file, with the config or the keys of the one that it was converted from."""
    tensors = with_scales(tensors, told, where)
    if GGUF_KEY in told:
        values = load_json(told.pop(GGUF_KEY).encode(), where, f"the metadata {GGUF_KEY!r}")
        return Checkpoint("gguf", source, tensors, told | values)
    config = None
    if CONFIG_KEY in told:
        config = load_json(told[CONFIG_KEY].encode(), where, f"the metadata {CONFIG_KEY!r}")
    return Checkpoint("safetensors", source, tensors, told, config)


def _view(data: Any, where: str) -> memoryview:
    """Return the bytes of something in memory, to be read only."""
    try:
        found = memoryview(data)
    except TypeError:
        raise DTypeError(where, "no bytes", expected="bytes", got=type(data).__name__,
                         remedy="Pass what the file holds: path.read_bytes()") from None  # fmt: skip
    if not found.contiguous:
        raise DTypeError(where, "bytes with gaps", expected="contiguous memory", got=f"strides {found.strides}",
                         remedy="Pass bytes(data)")  # fmt: skip
    return found.cast("B").toreadonly() if found.nbytes else memoryview(b"")


def _of_bytes(data: memoryview, source: str, where: str) -> Checkpoint:
    mark = bytes(data[:8])
    if mark[:4] == MAGIC:
        tensors, values = read_gguf_file(data, where)
        return Checkpoint("gguf", source, tensors, values)
    if is_safetensors(data) or source.endswith(".safetensors"):
        return _as_it_was(*read_safetensors(data, where), source, where)
    if mark[:4] == b"PK\x03\x04" or mark[:1] == b"\x80" or Path(source).suffix in (".bin", ".pt", ".pth", ".pkl"):
        raise refuse_pickle(where, Path(source).name)
    raise FileError(where, "neither safetensors nor GGUF", expected="a file that begins as one of them",
                    got=repr(mark), remedy="Check which file it is")  # fmt: skip
