"""The manifest of a store of vectors: ``path.ldb``, JSON that names the data files, their sizes and checksums.

Layer: formats. Invariant: a manifest that is read is whole, as it was written, and of a version that is known.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, cast

from loom.core.errors import FileError

__all__ = ["RESTORE", "VERSION", "broken", "digest_of", "files_of", "manifest_path", "read_manifest", "sibling", "sign"]

VERSION = 2
"""2: panels as they lie on the device, ids in lists of many. 1: rows one after the other, a row of SQLite for each."""
RESTORE = "vectors.restore"


def manifest_path(path: Path) -> Path:
    """Return where the manifest of a store at ``path`` lies; the suffix may be given or left out."""
    if not path.name:  # "." and "/"
        raise FileError("vectors", f"{str(path)!r} is a folder", expected="the name of a store",
                        remedy=f"Write {str(path / 'vectors')!r}")  # fmt: skip
    return path if path.suffix == ".ldb" else path.with_name(f"{path.name}.ldb")


def sign(facts: dict[str, Any]) -> bytes:
    """Return a manifest with the checksum of all else in it."""
    return json.dumps({**facts, "sha256": digest_of(facts)}, indent=1).encode()


def digest_of(facts: dict[str, Any]) -> str:
    """Return the checksum of what a manifest tells, which no other manifest has: it names files of random names."""
    return hashlib.sha256(json.dumps(facts, indent=1).encode()).hexdigest()


def files_of(manifest: Path) -> set[str]:
    """Return the data files that a manifest names; none if there is no sound one."""
    try:
        facts = json.loads(manifest.read_bytes())
        return {facts["vectors"]["file"], facts["meta"]["file"]}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return set()


def sibling(manifest: Path, name: Any) -> Path:
    """Return the data file of a name beside a manifest."""
    if not isinstance(name, str) or Path(name).name != name:
        raise ValueError(f"{name!r} is no name of a data file")
    return manifest.with_name(name)


def read_manifest(manifest: Path) -> dict[str, Any]:
    """Return what a manifest tells; FileError if there is none, if it is damaged, or of a newer version."""
    try:
        facts = json.loads(manifest.read_bytes())
    except FileNotFoundError:
        raise FileError(RESTORE, f"there is no store at {str(manifest)!r}", expected="what flush wrote",
                        remedy="Name the path that was flushed to") from None  # fmt: skip
    except (OSError, ValueError, RecursionError) as error:
        raise broken(manifest, f"the manifest cannot be read ({error})") from None
    if not isinstance(facts, dict):
        raise broken(manifest, "it is no manifest")
    found = cast("dict[str, Any]", facts)
    if found.get("format") != "loom vectors" or not isinstance(found.get("version"), int):
        raise broken(manifest, "it is no manifest of vectors")
    if found["version"] > VERSION:
        raise FileError(RESTORE, f"{str(manifest)!r} is of a newer version", expected=f"at most {VERSION}",
                        got=found["version"], remedy="Read it with a newer Loom")  # fmt: skip
    if found.pop("sha256", None) != digest_of(found):
        raise broken(manifest, "the manifest is not what was written")
    generation = found.get("generation", 0)  # stores flushed by older versions have none
    if not isinstance(generation, int) or generation < 0:
        raise broken(manifest, f"its generation is {generation!r:.50}")
    return found


def broken(manifest: Path, why: str) -> FileError:
    """Return the error of a store that cannot be read."""
    return FileError(RESTORE, f"no sound store at {str(manifest)!r} ({why})", remedy="Restore another one")
