"""Units' memory as files: written whole or not at all, read back bit for bit.

Layer: support, over ``loom.formats.manifest``. A folder holds one checkpoint. Invariant: nothing of a unit is
changed before everything of the checkpoint has been read and found sound.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from loom.core.errors import ArgumentError, CheckpointError
from loom.formats.manifest import load_blob, load_manifest, save_blobs
from loom.runtime.units.unit import Unit, turns
from loom.storage.disk import Disk
from loom.support.snapshots import changing_memory

__all__ = ["copy_facts", "read_checkpoint", "write_checkpoint"]

_WRITE, _READ = "support.checkpoint", "support.resume"


def copy_facts(facts: Any) -> Any:
    """Return a copy of what JSON can hold; ArgumentError for anything else."""
    try:
        return json.loads(json.dumps(facts, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise ArgumentError(
            _WRITE, f"facts that JSON cannot hold ({error})", expected="numbers, texts, lists and dicts",
            got=type(facts).__name__, remedy="Keep arrays in a unit",
        ) from None  # fmt: skip


def write_checkpoint(
    folder: Path, units: Mapping[str, Unit], facts: Any, released: Callable[[], None], disk: Disk | None = None
) -> None:
    """Keep the units' memory in ``folder``; ``released`` is called as soon as it has been copied to the host.

    CheckpointError if it cannot be written; the checkpoint before then stays.
    """
    shapes: dict[str, Any] = {}
    blobs: dict[str, memoryview] = {}
    with turns(units.values(), "checkpoint"):
        for name, unit in units.items():
            memory = changing_memory(unit)
            shapes[name] = _shape(memory)
            for binding, (storage, _) in memory.items():
                blobs[_blob(name, binding)] = storage.read(0, storage.nbytes).data
    released()
    try:
        save_blobs(folder, {"units": shapes, "facts": facts}, blobs, disk)
    except OSError as error:
        raise CheckpointError(
            _WRITE, f"cannot write to {str(folder)!r} ({error})", remedy="The checkpoint before is still there"
        ) from error


def read_checkpoint(folder: Path, units: Mapping[str, Unit]) -> Any:
    """Give the units the memory that ``folder`` keeps, and return the facts kept with it.

    CheckpointError if it is missing, broken, or of other units; nothing is changed then.
    """
    memory = {name: changing_memory(unit) for name, unit in units.items()}
    try:
        manifest = load_manifest(folder)
        kept, facts = manifest.facts["units"], manifest.facts["facts"]
        _require_same(kept, {name: _shape(found) for name, found in memory.items()}, folder)
        data = {blob: load_blob(folder, entry) for blob, entry in manifest.blobs.items()}
        parts = [(storage, data[_blob(n, b)]) for n, found in memory.items() for b, (storage, _) in found.items()]
    except CheckpointError:
        raise
    except FileNotFoundError as error:
        raise _broken(folder, f"{Path(error.filename).name} is missing") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _broken(folder, str(error)) from None
    with turns(units.values(), "resume"):
        for storage, bits in parts:
            storage.write(0, np.frombuffer(bits, np.uint8))
    return facts


def _blob(unit: str, binding: str) -> str:
    return json.dumps([unit, binding])


def _shape(memory: Mapping[str, tuple[Any, Any]]) -> dict[str, list[Any]]:
    """Return dtype (None: words) and bytes of each binding."""
    return {binding: [d and str(d), storage.nbytes] for binding, (storage, d) in memory.items()}


def _require_same(kept: dict[str, Any], here: dict[str, Any], folder: Path) -> None:
    for name in [*kept, *here]:
        if kept.get(name) != here.get(name):
            raise CheckpointError(
                _READ, f"the checkpoint in {str(folder)!r} is of other units",
                expected=_describe(name, kept.get(name)), got=_describe(name, here.get(name)),
                remedy="Boot the units as they were when it was written",
            )  # fmt: skip


def _describe(name: str, shape: dict[str, list[Any]] | None) -> str:
    if shape is None:
        return f"no unit {name!r}"
    return f"unit {name!r} with " + ", ".join(f"{b}: {n} bytes{f' of {d}' if d else ''}" for b, (d, n) in shape.items())


def _broken(folder: Path, why: str) -> CheckpointError:
    return CheckpointError(
        _READ, f"no sound checkpoint in {str(folder)!r} ({why})", remedy="Resume from another; no unit was changed"
    )
