"""Many named blobs kept as one: data files first, the manifest that names them last.

Layer: formats. A data file is named by the SHA-256 of its content, so one that is there already is not written
again. Invariant: the manifest only ever names whole files; a crash at any step leaves the one before, with all its
files.

    folder/
      manifest.json            {"format": 1, "facts": {...}, "blobs": {name: [sha256, nbytes]}}
      <sha256>.blob            one for each different content
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from loom.core.late.dataclass import dataclass
from loom.storage.atomic import replace_file, sweep
from loom.storage.disk import Disk

__all__ = ["Manifest", "load_blob", "load_manifest", "save_blobs"]

_FORMAT = 1
_NAME = "manifest.json"
_SUFFIX = ".blob"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What is kept: ``facts`` of the caller, and (sha256, nbytes) of each blob by name."""

    facts: Any
    blobs: dict[str, tuple[str, int]]


def save_blobs(folder: Path, facts: Any, blobs: Mapping[str, memoryview], disk: Disk | None = None) -> None:
    """Keep ``blobs`` and ``facts`` (JSON) in ``folder`` in place of what is there; OSError, and that stays, if not."""
    disk = disk or Disk()
    folder.mkdir(parents=True, exist_ok=True)
    sweep(folder)
    entries: dict[str, tuple[str, int]] = {}
    for name, data in blobs.items():
        digest = hashlib.sha256(data).hexdigest()
        entries[name] = digest, len(data)
        path = folder / f"{digest}{_SUFFIX}"
        if not _is_kept(path, digest):
            replace_file(path, data, durable=True, disk=disk)
    text = json.dumps({"format": _FORMAT, "facts": facts, "blobs": entries}, indent=1)
    replace_file(folder / _NAME, text.encode(), durable=True, disk=disk)
    _remove_others(folder, {digest for digest, _ in entries.values()}, disk)


def _is_kept(path: Path, digest: str) -> bool:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest() == digest
    except OSError:
        return False


def _remove_others(folder: Path, wanted: set[str], disk: Disk) -> None:
    """Remove data files that the manifest does not name; one that stays does no harm."""
    with contextlib.suppress(OSError):
        for path in sorted(folder.glob(f"*{_SUFFIX}")):
            if path.stem not in wanted:
                disk.remove(path)


def load_manifest(folder: Path) -> Manifest:
    """Return what ``folder`` keeps; OSError if there is nothing, ValueError if it is no manifest."""
    found = json.loads((folder / _NAME).read_bytes())
    try:
        if found["format"] != _FORMAT:
            raise ValueError(f"format {found['format']!r}, not {_FORMAT}")
        return Manifest(found["facts"], {n: (str(d), int(s)) for n, (d, s) in found["blobs"].items()})
    except (KeyError, TypeError) as error:
        raise ValueError(f"no manifest ({error!r})") from None


def load_blob(folder: Path, entry: tuple[str, int]) -> bytes:
    """Return a blob; OSError if its file is missing, ValueError if it is not what was written."""
    digest, nbytes = entry
    if len(digest) != 64 or not all(c in "0123456789abcdef" for c in digest):
        raise ValueError(f"{digest!r} is no name of a data file")
    data = (folder / f"{digest}{_SUFFIX}").read_bytes()
    if len(data) != nbytes or hashlib.sha256(data).hexdigest() != digest:
        raise ValueError(f"{digest}{_SUFFIX} holds {len(data)} bytes that are not those written")
    return data
