"""Loom: write a kernel once in Python, run it anywhere, get the same bits.

The public names below are loaded when first used, so that importing Loom costs little.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from loom.core.version import __version__

if TYPE_CHECKING:
    from loom.core.dtype import *  # noqa: F403

_NAMES: dict[str, tuple[str, ...]] = {
    "loom.core.dtype": (
        "DType", "bf16", "bool_", "f16", "f32", "f64", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64",
    ),
    "loom.core.numerics": ("Guarantee",),
    "loom.ir.interp": ("debug",),
    "loom.ir.frontend.annotations": ("In", "InOut", "Out"),
    "loom.ir.frontend.decorator": ("kernel",),
    "loom.ir.frontend.intrinsics": (
        "atomic_add", "atomic_and", "atomic_compare_exchange", "atomic_exchange", "atomic_max", "atomic_min",
        "atomic_or", "atomic_xor", "barrier", "bitcast", "ceil", "clz", "floor", "global_id", "group_id", "idiv",
        "irem", "local_id", "mulhi", "num_groups", "popcount", "private", "rint", "select", "shared", "sqrt",
        "static_range", "trunc", "workgroup_size",
    ),
    "loom.patterns.map": ("gpu_map",),
    "loom.patterns.reduce": ("gpu_max", "gpu_mean", "gpu_min", "gpu_sum"),
    "loom.patterns.sieve": ("gpu_prime_count", "gpu_primes"),
    "loom.runtime.chain": ("Chain", "Program", "Submission"),
    "loom.runtime.device": ("device", "devices"),
    "loom.runtime.unit": ("Unit", "boot"),
}  # fmt: skip

_WHERE = {name: module for module, names in _NAMES.items() for name in names}

__all__ = ["__version__", *_WHERE]


def __getattr__(name: str) -> Any:
    module = _WHERE.get(name)
    if module is None:
        from loom.core.errors import near_matches

        raise AttributeError(f"module 'loom' has no attribute {name!r}. {near_matches(name, list(_WHERE))}")
    value = getattr(import_module(module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
