"""The folder of a model, as it is downloaded from the HuggingFace hub; on the disk or in memory.

Layer: models. Invariant: no file outside the folder is read. One layout of links is followed: the hub's own cache,
where ``snapshots/REVISION/`` holds links into the folder ``blobs`` beside ``snapshots``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from loom.core.errors import FileError
from loom.core.given import is_mapping
from loom.models.files.checkpoint import Checkpoint, StoredTensor, require_text
from loom.models.files.content import map_file
from loom.models.files.safetensors import load_json, read_safetensors_file
from loom.nn.files.storedfile import SCALE, ZERO

__all__ = ["DiskFolder", "MemoryFolder", "read_folder"]

_WEIGHTS, _INDEX, _CONFIG = "model.safetensors", "model.safetensors.index.json", "config.json"
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


class MemoryFolder:
    """Files by name, in memory."""

    def __init__(self, files: Mapping[str, memoryview], where: str) -> None:
        self.where, self._files = where, dict(files)

    def names(self) -> list[str]:
        """Return the names of all files."""
        return sorted(self._files)

    def open(self, name: str) -> memoryview | None:
        """Return the bytes of a file, None without it."""
        return self._files.get(_inner(name, self.where))


class DiskFolder:
    """A folder, of which only plain files inside it are opened."""

    def __init__(self, path: Path, where: str) -> None:
        self.where = where
        self.root = Path(os.path.realpath(path))
        self._homes = [self.root]
        if self.root.parent.name == "snapshots":
            self._homes.append(self.root.parent.parent / "blobs")

    def names(self) -> list[str]:
        """Return the names of its files, and ``FOLDER/NAME`` of those in its folders; hidden ones left out."""
        found: list[str] = []
        try:
            for entry in os.scandir(self.root):
                if not entry.is_dir(follow_symlinks=False):
                    found.append(entry.name)
                elif not entry.name.startswith("."):
                    inner = os.scandir(entry.path)
                    found += [f"{entry.name}/{e.name}" for e in inner if not e.is_dir(follow_symlinks=False)]
            return sorted(found)
        except OSError as error:
            raise FileError(self.where, f"the folder cannot be read ({error.strerror})", got=str(self.root)[:200],
                            remedy="Check the path") from None  # fmt: skip

    def open(self, name: str) -> memoryview | None:
        """Return the bytes of a file, None without it; FileError for one that is a link to the outside."""
        path = self.root / _inner(name, self.where)
        if not os.path.lexists(path):
            return None
        real = Path(os.path.realpath(path))
        if not any(real.is_relative_to(home) for home in self._homes):
            raise FileError(f"{self.where}, {name!r}", "a link that leaves the folder of the model",
                            expected="a file in it", got=str(real)[:200],
                            remedy="Copy the file there: nothing outside the folder is read")  # fmt: skip
        return map_file(real, f"{self.where}, {name!r}")


def _inner(name: str, where: str) -> str:
    """Return the name of a file in a folder, or in one in it; FileError for any other."""
    parts = PurePosixPath(name).parts
    odd = not parts or name.startswith("/") or ".." in parts or any(c in name for c in "\\\0:")
    if odd:
        raise FileError(where, "a name outside the folder of the model", expected="the name of a file in it",
                        got=repr(name)[:100], remedy="Nothing outside the folder is read")  # fmt: skip
    return "/".join(parts)


def read_folder(folder: DiskFolder | MemoryFolder, source: str) -> Checkpoint:
    """Return the checkpoint of a folder; FileError names what is missing or does not belong together."""
    where = folder.where
    shards = _shards(folder)
    tensors: dict[str, StoredTensor] = {}
    metadata: dict[str, str] = {}
    homes: dict[str, str] = {}
    for shard, names in shards.items():
        here = f"{where}, {shard}"
        data = folder.open(shard)
        if data is None:
            raise FileError(where, f"the file {shard!r} is missing", expected=f"{len(shards)} files of weights",
                            got="others without it", remedy="Download all files of the model")  # fmt: skip
        found, told = read_safetensors_file(data, here)
        metadata = told | metadata
        for name in names or ():
            if name not in found and not _is_part(name, found):
                raise FileError(here, f"the tensor {name[:100]!r} is missing", expected=f"as {_INDEX} says",
                                got=f"{len(found)} others", remedy="Download the file again")  # fmt: skip
        for name, tensor in found.items():
            if name in tensors:
                both, remedy = f"{homes[name]} and {shard}", "Remove the one that is not the model's"
                raise FileError(where, f"the tensor {name[:100]!r} is in two files", expected="one", got=both,
                                remedy=remedy)  # fmt: skip
            tensors[name], homes[name] = tensor, shard
    return Checkpoint("huggingface", source, tensors, metadata, _config(folder), tuple(folder.names()),
                      folder.open)  # fmt: skip


def _is_part(name: str, found: Mapping[str, StoredTensor]) -> bool:
    """Tell whether a name is that of scales, or codes of 0, of a tensor that Loom stored with them."""
    owners = [found.get(name.removesuffix(ending)) for ending in (SCALE, ZERO) if name.endswith(ending)]
    return any(owner is not None and owner.is_scaled for owner in owners)


def _shards(folder: DiskFolder | MemoryFolder) -> dict[str, list[str] | None]:
    """Return the files of weights, with the tensors that the index says each has."""
    names = folder.names()
    if _WEIGHTS in names:
        return {_WEIGHTS: None}
    index = folder.open(_INDEX) if _INDEX in names else None
    if index is None:
        raise _no_weights(folder.where, names)
    here = f"{folder.where}, {_INDEX}"
    told: Any = load_json(require_text(index, here), here, "the index").get("weight_map")
    if not is_mapping(told) or not told or not all(isinstance(v, str) for v in told.values()):
        raise FileError(here, "no 'weight_map'", expected="names of files by names of tensors", got=repr(told)[:60],
                        remedy="Download the file again")  # fmt: skip
    found: dict[str, list[str] | None] = {}
    lists: dict[str, list[str]] = {}
    for tensor, shard in told.items():
        if "/" in shard or not shard.endswith(".safetensors"):
            raise FileError(here, f"{tensor[:100]!r} is said to be in a file that is none of the folder's weights",
                            expected="the name of a .safetensors in the folder", got=repr(shard)[:100],
                            remedy="Nothing outside the folder is read")  # fmt: skip
        found[shard] = lists.setdefault(shard, [])
        lists[shard].append(tensor)
    return found


def _no_weights(where: str, names: list[str]) -> FileError:
    pickled = [n for n in names if n.endswith(_PICKLED)]
    others = [n for n in names if n.endswith((".safetensors", ".gguf"))]
    if others:
        return FileError(where, "which file has the weights", expected=f"{_WEIGHTS} or {_INDEX}",
                         got=", ".join(others)[:200], remedy="Pass the file itself")  # fmt: skip
    if pickled:
        return refuse_pickle(where, pickled[0])
    got = ", ".join(names)[:200] or "an empty folder"
    return FileError(where, "the folder has no weights", expected=f"{_WEIGHTS} or {_INDEX}", got=got,
                     remedy="Download all files of the model")  # fmt: skip


def refuse_pickle(where: str, name: str) -> FileError:
    """Return the error for a file of pickled objects."""
    return FileError(where, f"{name!r} is a pickle, which runs what its author wrote when it is read",
                     expected="safetensors or GGUF", got="a pickle",
                     remedy="Load it in PyTorch where you trust it, and write it with save_pretrained("
                     "..., safe_serialization=True)")  # fmt: skip


def _config(folder: DiskFolder | MemoryFolder) -> dict[str, Any] | None:
    data = folder.open(_CONFIG)
    here = f"{folder.where}, {_CONFIG}"
    return None if data is None else load_json(require_text(data, here), here, "the file")
