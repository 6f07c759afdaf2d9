"""Keeps compiled kernels on disk, so that a process compiles only what no process compiled before.

Layer: runtime. A file is named by the hash of everything its content depends on and carries its own
checksum. Invariant: a missing, torn, foreign or unwritable file costs time, never correctness.

    magic "LOOMOBJ2" | sha256 of the rest | length of head (u32) | head (JSON, with the name's key) | object
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loom.core import options
from loom.core.late import late
from loom.targets.base import Artifact, Site

if TYPE_CHECKING:
    from loom.storage import atomic
else:
    atomic = late("loom.storage", "atomic")

__all__ = ["ArtifactCache", "cache_folder"]

_MAGIC = b"LOOMOBJ2"
_MOST_FILES = 4096


class ArtifactCache:
    """A folder of artifacts. ``load`` returns None for anything but a sound file."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or cache_folder()
        self._swept = False

    def path(self, key: str) -> Path:
        """Return where the artifact of ``key`` is kept."""
        return self.folder / f"{key}.obj"

    def load(self, key: str) -> Artifact | None:
        """Return the artifact kept for ``key``."""
        try:
            data = self.path(key).read_bytes()
        except OSError:
            return None
        return _decode(key, data)

    def artifact(self, everything: str, make: Callable[[], Artifact]) -> Artifact:
        """Return the artifact of a text that says everything it depends on: kept, or made and kept now."""
        key = hashlib.sha256(everything.encode()).hexdigest()
        found = self.load(key)
        if found is None:
            found = make()
            self.store(key, found)
        return found

    def store(self, key: str, artifact: Artifact) -> None:
        """Keep an artifact; a folder that cannot be written is left alone."""
        try:
            atomic.replace_file(self.path(key), _encode(key, artifact))
            if not self._swept:
                self._swept = True
                self._tidy()
        except OSError:
            return

    def _tidy(self) -> None:
        """Drop stale temporary files, and the oldest artifacts beyond a few thousand."""
        atomic.sweep(self.folder)
        files = sorted(self.folder.glob("*.obj"), key=lambda p: p.stat().st_mtime)
        for path in files[: max(0, len(files) - _MOST_FILES)]:
            path.unlink(missing_ok=True)


def cache_folder() -> Path:
    """Return where compiled kernels and attestations are kept."""
    chosen = options.cache_directory()
    if chosen is not None:
        return Path(chosen)
    if sys.platform == "linux" and "ANDROID_DATA" not in os.environ:  # as platformdirs has it, which loads for 5 ms
        home = os.environ.get("XDG_CACHE_HOME", "")
        return Path(home if os.path.isabs(home) else os.path.expanduser("~/.cache"), "loom-compute", "kernels")
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("loom-compute", appauthor=False)) / "kernels"


def _encode(key: str, artifact: Artifact) -> bytes:
    head = {
        "key": key,
        "kind": artifact.kind,
        "entry": artifact.entry,
        "sites": [asdict(s) for s in artifact.sites],
        "facts": artifact.facts,
    }
    text = json.dumps(head, sort_keys=True).encode()
    body = struct.pack("<I", len(text)) + text + artifact.data
    return _MAGIC + hashlib.sha256(body).digest() + body


def _site(kept: dict[str, Any]) -> Site:
    lists: dict[str, Any] = {name: tuple(kept[name]) for name in ("pieces", "dtypes")}
    return Site(**{**kept, **lists})


def _decode(key: str, data: bytes) -> Artifact | None:
    body = data[40:]
    if data[:8] != _MAGIC or hashlib.sha256(body).digest() != data[8:40]:
        return None
    try:
        (length,) = struct.unpack_from("<I", body)
        head = json.loads(body[4 : 4 + length])
        if head["key"] != key:  # a file of another kernel under this name
            return None
        sites = tuple(_site(s) for s in head["sites"])
        return Artifact(head["kind"], body[4 + length :], head["entry"], sites, head["facts"])
    except (ValueError, KeyError, TypeError, struct.error):  # sound, but not what this version writes
        return None
