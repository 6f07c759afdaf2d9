"""Files of exports, written all or none: what is there and is not Loom's is never written over unasked.

Layer: export. A folder keeps the digests of what was written there (``.loom-export.json``): a file that still has its
digest is Loom's to replace, one that others made or changed is not. Invariant: a refusal leaves the folder as it was.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from loom.core.errors import ArgumentError, FileError
from loom.core.given import is_mapping
from loom.core.late.dataclass import dataclass
from loom.storage.atomic import replace_file

__all__ = ["Export", "deliver", "deliver_together"]

_LIST, _FORMAT = ".loom-export.json", "loom/export/files/1"
_MOST_SHOWN = 8


@dataclass(frozen=True, slots=True)
class Export:
    """What an export tells: the files that were written."""

    files: tuple[Path, ...]


Written = TypeVar("Written", bound=Export)


def deliver(
    write: Callable[[Path], Written], out: str | Path, *, overwrite: bool, sources: Iterable[Path] = ()
) -> Written:
    """Have ``write`` fill an empty folder, bring its files to ``out``, and return what it told, of files there.

    FileError, and nothing is written, for files that are there and were not written by an export, or were changed
    since, unless ``overwrite``; for folders of such names; and for any of ``sources``, which the export reads.
    """
    return deliver_together([(write, out)], overwrite=overwrite, sources=sources)[0]


def deliver_together(
    writers: Sequence[tuple[Callable[[Path], Written], str | Path]], *, overwrite: bool, sources: Iterable[Path] = ()
) -> list[Written]:
    """Deliver several exports, each to its folder, all or none; ArgumentError where two would write different files of
    one name into one folder."""
    made: list[Written] = []
    contents: dict[Path, dict[str, bytes]] = {}
    for write, out in writers:
        with tempfile.TemporaryDirectory() as folder:
            each = write(Path(folder))
            found = contents.setdefault(Path(out), {})
            for name in _names(Path(folder)):
                content = (Path(folder) / name).read_bytes()
                if found.setdefault(name, content) != content:
                    raise ArgumentError(
                        "loom.export",
                        "two of the exports write this file, each another one",
                        expected="files of different names",
                        got=name,
                        remedy="Choose another name, or give each a folder",
                    )
            made.append(replace(each, files=tuple(Path(out) / p.relative_to(folder) for p in each.files)))
    read = {path.resolve() for path in sources}
    for out, found in contents.items():
        _check(found, out, overwrite, read)
    for out, found in contents.items():
        _bring(found, out)
    return made


def _names(folder: Path) -> list[str]:
    found = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    return sorted(name for name in found if name != _LIST)


def _check(contents: Mapping[str, bytes], out: Path, overwrite: bool, sources: set[Path]) -> None:
    blocked = [name for name in contents if _is_blocked(out, name)]
    _refuse(blocked, "folders, or files where folders have to be, have these names", "Remove them, or choose another")
    read = [name for name in contents if (out / name).resolve() in sources]
    _refuse(read, "the export would be written over what it is made of", "Choose another name, or another folder")
    if not overwrite:
        known = _read_list(out)
        lost = [name for name, content in contents.items() if not _is_ours(out / name, content, known.get(name))]
        lost += [] if known or not _exists(out / _LIST) else [_LIST]
        _refuse(
            lost,
            "files are there already that no export wrote, or that were changed since",
            "Choose another name or folder, or pass overwrite=True (--overwrite)",
        )


def _bring(contents: Mapping[str, bytes], out: Path) -> None:
    written = {name: sha256(content).hexdigest() for name, content in contents.items()}
    listed = {"format": _FORMAT, "files": dict(sorted({**_read_list(out), **written}.items()))}
    try:
        for name, content in {**contents, _LIST: (json.dumps(listed, indent=1) + "\n").encode()}.items():
            replace_file(out / name, content)
    except OSError as error:
        raise FileError(
            "loom.export, out",
            f"the files cannot be written ({error.strerror or error})",
            expected="a folder that can be written to",
            got=str(out)[:200],
            remedy="Choose another place",
        ) from None


def _refuse(names: Sequence[str], what: str, remedy: str) -> None:
    if names:
        more = f" and {len(names) - _MOST_SHOWN} more" if len(names) > _MOST_SHOWN else ""
        raise FileError(
            "loom.export, out",
            what,
            expected="none of them",
            got=", ".join(names[:_MOST_SHOWN]) + more,
            remedy=f"{remedy}; nothing was written",
        )


def _exists(path: Path) -> bool:
    return path.is_symlink() or path.exists()


def _is_blocked(out: Path, name: str) -> bool:
    parents = [out / parent for parent in Path(name).parents]
    return (out / name).is_dir() or any(_exists(parent) and not parent.is_dir() for parent in parents)


def _is_ours(path: Path, content: bytes, digest: str | None) -> bool:
    """Tell whether a file may be replaced: there is none, it is the same, or what an export wrote there."""
    if not _exists(path):
        return True
    try:
        held = path.read_bytes()
    except OSError:
        return False
    return held == content or sha256(held).hexdigest() == digest


def _read_list(out: Path) -> Mapping[str, str]:
    """Return the digests of what exports wrote into a folder; none where nothing tells them."""
    try:
        found: object = json.loads((out / _LIST).read_bytes())
    except (OSError, ValueError):
        return {}
    files = found.get("files") if is_mapping(found) and found.get("format") == _FORMAT else None
    return {str(name): str(digest) for name, digest in files.items()} if is_mapping(files) else {}
