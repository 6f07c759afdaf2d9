"""Finds out what a device computes rightly, and how to have the rest computed: native, put right, or not at all.

Layer: runtime. Each operation has a ladder; a device stands on the highest rung whose probes give the bits expected.
What can neither be trusted nor put right costs a type, or the device. Invariant: what the self-test has passed is all
that kernels are written with; what an adapter claims counts for nothing.

Findings are kept on disk for adapter, driver and code, since a device does not change between two runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from loom.core.errors import DeviceError
from loom.core.given import is_list
from loom.core.late.dataclass import dataclass
from loom.kernels.maps.literals import LITERAL_OPERATIONS
from loom.runtime.drivers.probes.probe import Probe
from loom.runtime.drivers.probes.probes import PROBES, TILES
from loom.runtime.drivers.probes.running import passes, path_of_found, read_found, write_found
from loom.runtime.drivers.vulkan.handles.opened import OpenAdapter
from loom.runtime.drivers.vulkan.program.program import VulkanProgram
from loom.targets.spirv.features import Features, Matrices

__all__ = ["LADDERS", "MATRICES", "Findings", "Ladder", "find_features"]

_NATIVE = "native"
_WRONG = "wrong"


@dataclass(frozen=True)
class Findings:
    """``operations`` are (operation, how it is computed); ``types`` the scalar types beyond 32 bits."""

    operations: tuple[tuple[str, str], ...]
    types: tuple[str, ...]


_Change = Callable[[Features, OpenAdapter], Features]


@dataclass(frozen=True)
class Ladder:
    """``rungs`` are ways to have an operation computed; where none is right, what fails costs ``types``, or all."""

    operation: str
    rungs: tuple[tuple[str, _Change], ...] = ()
    types: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


def _without(**values: Any) -> _Change:
    return lambda features, _device: replace(features, **values)


def _fill_vectors(features: Features, device: OpenAdapter) -> Features:
    return replace(features, whole_vectors=max(2, device.adapter.subgroup))


def _preserve_subnormals(width: int) -> _Change:
    """Ask that subnormals be kept though the adapter does not offer it: an H200 says no, and does if asked."""
    mode = ("DenormPreserve", width)
    return lambda features, _device: replace(features, modes=tuple(dict.fromkeys((*features.modes, mode))))


def _by(how: str, **values: Any) -> tuple[tuple[str, _Change], ...]:
    return ((how, _without(**values)),)


_INTEGERS = "by integers"
MATRICES = "cooperative matrices"
"""How products of tiles are computed where these are right."""
_F64 = ("f64", "i64")
_BASIC = ("load and store", "select", "add", "sub", "mul", "reassociation")
_CONTROLS = {
    width: (
        ("subnormals asked for, though not offered", _preserve_subnormals(width)),
        ("without float controls", _without(modes=()))
    )
    for width in (32, 64)
}  # fmt: skip
_HIDDEN = _by("hidden from the driver", exact_literals=False)
_PRODUCTS = _by("products hidden from sums", uncontracted=False)


def _literals(name: str, types: tuple[str, ...] = (), needs: tuple[str, ...] = ()) -> list[Ladder]:
    """Return the ladders of the numbers that a compiler knows."""
    operations = (*(f"{op} with literals" for op in LITERAL_OPERATIONS), "zeros worked out", "select of literals")
    return [Ladder(f"{name} {operation}", _HIDDEN, types, needs) for operation in operations]


LADDERS: tuple[Ladder, ...] = (
    Ladder("long loops", _by("several turns in one; a fault where the driver ends one", whole_loops=False)),
    Ladder("short loops"),
    Ladder("partial vectors", (("groups filled up to whole vectors", _fill_vectors),)),
    Ladder("u32 arithmetic"), Ladder("i32 arithmetic"),
    Ladder("u8 arithmetic", types=("i8",), needs=("i8",)), Ladder("i8 arithmetic", types=("i8",), needs=("i8",)),
    Ladder("u16 arithmetic", types=("i16",), needs=("i16",)), Ladder("i16 arithmetic", types=("i16",), needs=("i16",)),
    Ladder("i64 order", _by("as unsigned", exact_order=False), needs=("i64",)),
    Ladder("u64 arithmetic", types=_F64, needs=("i64",)), Ladder("i64 arithmetic", types=_F64, needs=("i64",)),
    Ladder("64-bit atomics", _by("none", int64_atomics=False), needs=("i64",)),
    Ladder("dot products of bytes", _by("byte by byte", dots=False)),
    Ladder(TILES, _by("by dot products", matrices=None)),
    *(Ladder(f"f32 {n}", _CONTROLS[32]) for n in _BASIC),
    Ladder("f32 contraction", _PRODUCTS),
    Ladder("f32 min"), Ladder("f32 max"),
    Ladder("f32 rounding", _by(_INTEGERS, exact_rounding=False)),
    Ladder("f32 division", _by(_INTEGERS, exact_division=False)),
    Ladder("f32 square root", _by(_INTEGERS, exact_roots=False)),
    *_literals("f32"), *_literals("f16", ("i16",), ("i16",)),
    Ladder("integers to floats", _by(_INTEGERS, exact_conversions=False)),
    Ladder("f32 to integers"),
    *(Ladder(f"f64 {n}", _CONTROLS[64], ("f64",), _F64) for n in _BASIC),
    Ladder("f64 contraction", _PRODUCTS, ("f64",), _F64),
    *(Ladder(f"f64 {n}", types=("f64",), needs=_F64) for n in ("min", "max")),
    Ladder("f64 rounding", _by(_INTEGERS, exact_rounding=False), ("f64",), _F64),
    Ladder("f64 division", types=("f64",), needs=_F64), Ladder("f64 square root", types=("f64",), needs=_F64),
    *_literals("f64", ("f64",), _F64),
    Ladder("f64 conversions", types=("f64",), needs=_F64),
    Ladder("64-bit integers to floats", _by(_INTEGERS, exact_wide_conversions=False), needs=("i64",)),
)  # fmt: skip
"""Every operation looked at, in the order of what builds on what."""


def find_features(device: OpenAdapter) -> tuple[Features, Findings]:
    """Return the features of a device and what was found.

    DeviceError, with everything that is wrong, if it computes what cannot be put right.
    """
    path = path_of_found(device.adapter.key, device.features, __file__, "vkfound")
    known = _read(path)
    if known is not None:
        return known
    features = _without_fast_math(device)
    operations: list[tuple[str, str]] = []
    for ladder in LADDERS:
        how, features = _climb(device, ladder, features)
        if ladder.operation == TILES and features.matrices is not None:
            how = MATRICES
        operations.append((ladder.operation, how))
    wrong = [operation for operation, how in operations if how == _WRONG]
    if wrong:
        raise DeviceError(
            f"device {device.name!r}",
            f"{device.adapter.name} computes {', '.join(wrong)} wrongly, and it cannot be put right",
            expected="the bits of IEEE 754", remedy="Use another device, or another driver",
        )  # fmt: skip
    findings = Findings(tuple(operations), features.types)
    write_found(path, features, findings.operations)
    return features, findings


def _without_fast_math(device: OpenAdapter) -> Features:
    """Return the claimed features, SPV_KHR_float_controls2 left out if f32 goes wrong with it and right without."""
    claimed = device.features
    if not claimed.no_fast_math or _is_exact(device, claimed):
        return claimed
    plain = replace(claimed, no_fast_math=())
    return plain if _is_exact(device, plain) else claimed


def _is_exact(device: OpenAdapter, features: Features) -> bool:
    return all(_right(device, f"f32 {n}", features) for n in ("add", "sub", "mul", "reassociation", "contraction"))


def _climb(device: OpenAdapter, ladder: Ladder, features: Features) -> tuple[str, Features]:
    """Return how an operation is computed, and the features for it."""
    missing = not set(ladder.needs) <= set(features.types)
    if missing or (ladder.operation == "64-bit atomics" and not features.int64_atomics):
        return "none", features
    if _right(device, ladder.operation, features):
        return _NATIVE, features
    for how, change in ladder.rungs:
        changed = change(features, device)
        if how == "none" or ladder.operation == "long loops" or _right(device, ladder.operation, changed):
            return how, changed
    if ladder.types:
        return "wrong: type left out", replace(
            features, types=tuple(t for t in features.types if t not in ladder.types)
        )
    return _WRONG, features


def _right(device: OpenAdapter, operation: str, features: Features) -> bool:
    """Tell whether all probes of an operation give the bits expected."""
    if device.features != features:
        device.use(features)
    narrow = set(features.types)
    probes = [p for p in PROBES if p.operation == operation]
    return all(_passes(device, p) for p in probes if _can_run(p, narrow))


def _can_run(probe: Probe, types: set[str]) -> bool:
    """Tell whether the types of a probe exist."""
    held = (memory.dtype for memory in probe.make().verified.kernel.buffers)
    return all(t.bits == 32 or ("f64" if t.is_float else f"i{t.bits}") in types for t in held)


def _passes(device: OpenAdapter, probe: Probe) -> bool:
    return passes(probe, device.memory.allocate, partial(VulkanProgram, device))


def _read(path: Path) -> tuple[Features, Findings] | None:
    """Return what is kept, None for anything but what was written."""
    found = read_found(path)
    if found is None:
        return None
    given, operations = found
    try:
        given["matrices"] = given["matrices"] and Matrices(**given["matrices"])
        given["modes"] = tuple((name, width) for name, width in given["modes"])
        values: dict[str, Any] = {k: tuple(v) if is_list(v) else v for k, v in given.items()}
        features = Features(**values)
        return features, Findings(operations, features.types)
    except (ValueError, KeyError, TypeError):
        return None
