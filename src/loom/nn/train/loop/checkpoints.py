"""Checkpoints of a training: a snapshot in a folder, whole or not at all.

Layer: nn, over ``loom.storage.manifest``. Invariant: nothing is changed before everything of a checkpoint has been
read and found to belong to this training; a crash while writing leaves the checkpoint before.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from loom.core.arrays import Array
from loom.core.errors import CheckpointError
from loom.nn.spec import Snapshot
from loom.storage.disk import Disk
from loom.storage.manifest import Manifest, load_blob, load_manifest, save_blobs

__all__ = ["read_checkpoint", "require_arrays", "require_folder", "write_checkpoint"]

Arrays = dict[str, Array]
_KIND = "training"


def write_checkpoint(folder: Path, snapshot: Snapshot, disk: Disk | None = None) -> None:
    """Keep a snapshot in ``folder``; CheckpointError if it cannot, and the one before stays."""
    flat = {name: np.asarray(a, order="C") for name, a in snapshot.arrays.items()}
    shapes = {name: [a.dtype.str, list(a.shape)] for name, a in flat.items()}
    blobs = {name: a.reshape(-1).view(np.uint8).data for name, a in flat.items()}
    try:
        save_blobs(folder, {"kind": _KIND, "arrays": shapes, "facts": dict(snapshot.facts)}, blobs, disk)
    except OSError as error:
        raise CheckpointError(
            "train, checkpoint", f"cannot write to {str(folder)!r} ({error})",
            remedy="The checkpoint before is still there",
        ) from error  # fmt: skip


def require_folder(folder: Path) -> None:
    """Make the folder, or see that it can be written to; CheckpointError, before anything is computed, if not."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_usable = os.access(folder, os.W_OK | os.X_OK)
        why = "" if is_usable else "it may not be written to"
    except (OSError, ValueError) as error:  # ValueError: a name that no folder can have
        why = getattr(error, "strerror", None) or str(error)
    if why:
        raise CheckpointError("train, checkpoint", f"the folder cannot be used ({why})",
                              expected="a folder that can be written to", got=repr(str(folder)),
                              remedy="Choose another; nothing was run")  # fmt: skip


def read_checkpoint(folder: Path) -> Snapshot:
    """Return the snapshot that ``folder`` keeps; CheckpointError if it is missing or broken."""
    try:
        manifest = load_manifest(folder)
        return Snapshot(manifest.facts["facts"], _arrays(folder, manifest))
    except FileNotFoundError as error:
        raise _broken(folder, f"{Path(error.filename).name} is missing") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _broken(folder, str(error)) from None


def require_arrays(snapshot: Snapshot, expected: Mapping[str, Array], what: str) -> None:
    """See that the arrays of ``expected`` are there, of its shapes and types; CheckpointError else, naming ``what``.

    Arrays called ``best/...`` may be there besides.
    """
    for name, wanted in expected.items():
        found = snapshot.arrays.get(name)
        if found is None or (found.dtype, found.shape) != (wanted.dtype, wanted.shape):
            raise CheckpointError(
                "train, resume", f"{what} is of another network or optimiser",
                expected=f"{name!r} of {wanted.dtype}, shape {wanted.shape}",
                got="nothing" if found is None else f"{found.dtype}, shape {found.shape}",
                remedy="Resume with the document and settings it was made with",
            )  # fmt: skip


def _arrays(folder: Path, manifest: Manifest) -> Arrays:
    if manifest.facts["kind"] != _KIND:
        raise ValueError(f"kind {manifest.facts['kind']!r}, not {_KIND!r}")
    found: Arrays = {}
    for name, (dtype, shape) in manifest.facts["arrays"].items():
        found[name] = np.frombuffer(load_blob(folder, manifest.blobs[name]), np.dtype(dtype)).reshape(shape).copy()
    return found


def _broken(folder: Path, what: str) -> CheckpointError:
    return CheckpointError("train, resume", f"no usable checkpoint in {str(folder)!r} ({what})",
                           remedy="Train from the start, or resume from another folder")  # fmt: skip
