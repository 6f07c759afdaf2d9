"""Finds out what a WebGPU device computes rightly, and has the rest computed by integers.

Layer: runtime. Each operation has a ladder; a device stands on the highest rung whose probes give the bits expected.
What stays wrong costs the device. Invariant: what the self-test has passed is all that kernels are written with.

FormFindings are kept on disk for adapter, driver and code, since a device does not change between two runs.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from loom.core.errors import DeviceError
from loom.core.late.dataclass import dataclass
from loom.kernels.maps.literals import LITERAL_OPERATIONS
from loom.runtime.drivers.probes.probe import Probe
from loom.runtime.drivers.probes.probes import PROBES, TILES
from loom.runtime.drivers.probes.running import passes, path_of_found, read_found, write_found
from loom.runtime.drivers.webgpu.opened import OpenWebGpu
from loom.runtime.drivers.webgpu.program import WebGpuProgram
from loom.targets.wgsl.features import Features
from loom.targets.wgsl.library.collect import FIRST, FORMS

__all__ = ["LADDERS", "FormFindings", "Rung", "find_features"]

_LOOPS = "several turns in one; a fault where the driver ends one"
_FILLED = "groups filled up to whole vectors"
_NATIVE = "native"
_HOW = {
    "hidden": _NATIVE,
    "wide": _NATIVE,
    "guarded": "by integers where numbers are subnormal",
    "integers": "by integers",
}
_WRONG = "wrong"


@dataclass(frozen=True)
class FormFindings:
    """``operations`` are (operation, how it is computed)."""

    operations: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Rung:
    """The forms of ``family`` are the rungs; an operation without one is right, or the device is refused."""

    operation: str
    family: str | None = None


_LITERALS = (*(f"{op} with literals" for op in LITERAL_OPERATIONS), "zeros worked out", "select of literals")
LADDERS: tuple[Rung, ...] = (
    Rung("long loops"), Rung("short loops"), Rung("partial vectors"),
    *(Rung(f"{t} arithmetic") for t in ("u32", "i32", "u8", "i8", "u16", "i16")),
    Rung("i64 order"), Rung("u64 arithmetic"), Rung("i64 arithmetic"), Rung("64-bit atomics"),
    Rung("dot products of bytes", "dots"), Rung(TILES),
    Rung("f32 load and store"), Rung("f32 select", "order"), Rung("f32 add", "sums"), Rung("f32 sub", "sums"),
    Rung("f32 reassociation", "sums"), Rung("f32 mul", "products"), Rung("f32 contraction", "products"),
    Rung("f32 min"), Rung("f32 max"), Rung("f32 rounding"),
    Rung("f32 division", "quotients"), Rung("f32 square root", "roots"),
    Rung("integers to floats", "conversions"),
    *(Rung(f"f32 {operation}") for operation in _LITERALS),
    Rung("f32 to integers"),
    *(Rung(f"f64 {n}", "doubles") for n in ("add", "sub", "mul", "division", "square root", "contraction")),
    Rung("f64 rounding"),
    Rung("f64 conversions"), Rung("64-bit integers to floats"),
)  # fmt: skip
"""Every operation looked at, in the order of what builds on what; f64 is arithmetic of integers on every device."""


def find_features(device: OpenWebGpu) -> tuple[Features, FormFindings]:
    """Return the features of a device and what was found.

    DeviceError, with everything that is wrong, if it computes what cannot be put right.
    """
    path = path_of_found(device.adapter.key, device.features, __file__, "wgpufound")
    known = _read(path)
    if known is not None:
        return known
    features = device.features
    offered = {"doubles": device.adapter.doubles, "dots": device.adapter.packed_dots}
    features = replace(features, forms=tuple((family, "wide") for family, has in offered.items() if has))
    operations: list[tuple[str, str]] = []
    for ladder in LADDERS:
        how, features = _climb(device, ladder, features)
        operations.append((ladder.operation, how))
    wrong = [operation for operation, how in operations if how == _WRONG]
    if wrong:
        raise DeviceError(
            f"device {device.name!r}",
            f"{device.adapter.name} computes {', '.join(wrong)} wrongly, and it cannot be put right",
            expected="the bits of IEEE 754", remedy="Use another device, or another driver",
        )  # fmt: skip
    findings = FormFindings(tuple(operations))
    write_found(path, features, findings.operations)
    return features, findings


def _climb(device: OpenWebGpu, ladder: Rung, features: Features) -> tuple[str, Features]:
    """Return how an operation is computed, and the features for it."""
    forms, family = dict(features.forms), ladder.family
    if _right(device, ladder.operation, features):
        return _NATIVE if family is None else _HOW[forms.get(family, FIRST[family])], features
    if ladder.operation == "long loops":
        return _LOOPS, replace(features, whole_loops=False)
    rungs = [(_FILLED, replace(features, whole_vectors=max(2, device.adapter.subgroup)))]
    if ladder.operation != "partial vectors":
        rungs = []
    if family is not None:
        known = FORMS[family]
        for form in known[known.index(forms.get(family, FIRST[family])) + 1 :]:
            rungs.append((_HOW[form], replace(features, forms=tuple(sorted({**forms, family: form}.items())))))
    for how, changed in rungs:
        if _right(device, ladder.operation, changed):
            return how, changed
    return _WRONG, features


def _right(device: OpenWebGpu, operation: str, features: Features) -> bool:
    """Tell whether all probes of an operation give the bits expected."""
    if device.features != features:
        device.use(features)
    return all(_passes(device, p) for p in PROBES if p.operation == operation)


def _passes(device: OpenWebGpu, probe: Probe) -> bool:
    return passes(probe, device.memory.allocate, partial(WebGpuProgram, device))


def _read(path: Path) -> tuple[Features, FormFindings] | None:
    """Return what is kept, None for anything but what was written."""
    found = read_found(path)
    if found is None:
        return None
    given, operations = found
    try:
        x, y, z = given.pop("most_groups")
        forms = tuple((a, b) for a, b in given.pop("forms"))
        return Features(forms, most_groups=(x, y, z), **given), FormFindings(operations)
    except (ValueError, KeyError, TypeError):
        return None
