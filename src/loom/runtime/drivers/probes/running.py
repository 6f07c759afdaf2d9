"""Runs probes on a device at hand, and keeps on disk what was found of it.

Layer: runtime. Invariant: what is kept is read again only for the same adapter, features, generator and probes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from loom.core.numerics import Guarantee, canonical_bits
from loom.runtime.drivers.probes import probe_sources
from loom.runtime.drivers.probes.probe import Probe
from loom.runtime.drivers.probes.probes import LANES
from loom.runtime.plans.dispatch import Binding, Dispatch, Segment
from loom.runtime.plans.plan import Plan, make_plan
from loom.runtime.port.cache import cache_folder
from loom.storage.atomic import replace_file
from loom.targets.base import compiler_fingerprint

__all__ = ["passes", "path_of_found", "read_found", "write_found"]

Operations = tuple[tuple[str, str], ...]
"""(operation, how it is computed)."""


def passes(probe: Probe, allocate: Callable[[int], Any], program: Callable[[Plan], Any]) -> bool:
    """Tell whether a device gives the bits that a probe expects.

    ``allocate`` gives storage of its own, ``program`` what runs a plan there. Raises that the device was lost.
    """
    inputs = probe.inputs()
    expected = probe.expected(*inputs)
    bindings: list[Binding] = []
    for array in (*inputs, np.zeros_like(expected)):
        storage = allocate(array.nbytes)
        storage.write(0, np.ascontiguousarray(array).view(np.uint8))
        bindings.append(Binding(storage, len(array)))
    groups = np.array([[probe.groups or -(-len(expected) // LANES), 1, 1]], np.uint32)
    dispatch = Dispatch(probe.make().verified, tuple(bindings), np.zeros((1, 0), np.uint64), groups)
    run = program(make_plan([Segment(1, [dispatch])], Guarantee.BIT_EXACT)).launch(None)
    run.finish()
    outcome = run.outcome()
    if outcome.lost is not None:
        raise outcome.lost
    if outcome.fault is not None:
        return False
    got = bindings[-1].storage.read(0, expected.nbytes).view(expected.dtype)
    return np.array_equal(canonical_bits(got), canonical_bits(expected))


def path_of_found(adapter: str, claimed: Any, rules: str, suffix: str) -> Path:
    """Return where is kept what was found of an adapter with the features it claims.

    ``rules``: the source file that says what is looked at, in which order.
    """
    own = hashlib.sha256(Path(rules).read_bytes() + probe_sources()).hexdigest()
    text = f"{adapter} {claimed} {compiler_fingerprint()} {own}"
    return cache_folder() / f"{hashlib.sha256(text.encode()).hexdigest()}.{suffix}"


def write_found(path: Path, features: Any, operations: Operations) -> None:
    """Keep features (a dataclass) and what they follow from; a disk that is full keeps nothing."""
    text = json.dumps({"features": asdict(features), "operations": operations}, sort_keys=True)
    try:
        replace_file(path, f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}".encode())
    except OSError:
        return


def read_found(path: Path) -> tuple[dict[str, Any], Operations] | None:
    """Return the features' fields as JSON has them and the operations, None for anything but a sound file."""
    try:
        digest, text = path.read_text().split("\n", 1)
        if hashlib.sha256(text.encode()).hexdigest() != digest:
            return None
        raw = json.loads(text)
        return dict(raw["features"]), tuple((a, b) for a, b in raw["operations"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
