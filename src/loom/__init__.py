"""Loom: write a kernel once in Python, run it anywhere, get the same bits.

The public names below are loaded when first used, so that importing Loom costs little. Type checkers read the same
table in ``__init__.pyi``, which ``tools/door.py`` writes.

Stability: stable.

>>> import loom
>>> loom.gpu_sum([1, 2, 3]).item()
6
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from loom.core.errors import end_of_process
from loom.core.process.forks import register
from loom.core.version import __version__

_MODULES = {
    **dict.fromkeys(("cluster", "flow", "models", "nn", "onnx", "pytorch", "tables", "tensor", "vectors"), "loom"),
    **dict.fromkeys(("data", "linalg", "random", "signal", "stats"), "loom.patterns"),
}
"""Names that are modules of their own: families of functions, called as ``loom.stats.mean(...)``, and their places."""
_NAMES = {
    "loom.core.dtype": "bf16 bool_ c128 c64 DType f16 f32 f64 i16 i32 i64 i8 u16 u32 u64 u8",
    "loom.core.errors": "LoomError",
    "loom.core.fixed": "fixed",
    "loom.core.numerics": "Guarantee",
    "loom.ir.frontend.base.annotations": "In InOut Out TypeVar",
    "loom.ir.frontend.intrinsics": (
        "atomic_add atomic_and atomic_compare_exchange atomic_exchange atomic_max atomic_min atomic_or atomic_xor "
        "barrier bitcast ceil clz dot2_i16 dot4_i8 dot4_u8i8 floor fma global_id group_id idiv irem local_id mulhi "
        "num_groups popcount private rint select shared sqrt static_range trunc workgroup_size"
    ),
    "loom.ir.frontend.data.structs": "struct",
    "loom.ir.interp.debugger": "debug",
    "loom.kernels.functions.bessel": "j0 j1 y0 y1",
    "loom.kernels.functions.error": "erf erfc gelu gelu_tanh",
    "loom.kernels.functions.exponential": "exp exp2 expm1 sigmoid",
    "loom.kernels.functions.gamma": "gamma lgamma",
    "loom.kernels.functions.hyperbolic": "cosh sinh tanh",
    "loom.kernels.functions.inverse": "acos asin atan atan2",
    "loom.kernels.functions.exact": "copysign fmod nextafter",
    "loom.kernels.functions.inverse_hyperbolic": "acosh asinh atanh",
    "loom.kernels.functions.logarithm": "log log10 log1p log2",
    "loom.kernels.functions.power": "cbrt hypot pow rsqrt",
    "loom.kernels.functions.trigonometric": "cos sin tan",
    "loom.kernels.group.collective": (
        "group_all group_any group_broadcast group_count group_max group_min group_scan group_sum"
    ),
    "loom.kernels.maps.by_index": (
        "random_bits random_f32 random_f64 random_normal random_normal_f64 random_u32 random_u64 random_words"
    ),
    "loom.nn.network": "Network",
    "loom.patterns.arg_reduce": "gpu_argmax gpu_argmin",
    "loom.patterns.logical": "gpu_all gpu_any gpu_count",
    "loom.patterns.maps.elementwise": (
        "gpu_abs gpu_add gpu_cast gpu_clip gpu_cos gpu_div gpu_equal gpu_erf gpu_exp gpu_gelu gpu_greater gpu_less "
        "gpu_log gpu_maximum gpu_minimum gpu_mul gpu_neg gpu_pow gpu_rsqrt gpu_sigmoid gpu_sin gpu_sqrt gpu_sub "
        "gpu_tanh gpu_where"
    ),
    "loom.patterns.maps.map": "gpu_map",
    "loom.patterns.matmul": "gpu_matmul",
    "loom.patterns.names.named": (
        "gpu_cumsum gpu_fft gpu_filter gpu_floor gpu_median gpu_mod gpu_range gpu_relu gpu_round gpu_sign "
        "gpu_square gpu_std gpu_transpose gpu_var"
    ),
    "loom.patterns.neural": "gpu_attention gpu_ffn gpu_rmsnorm gpu_rope gpu_silu gpu_softmax",
    "loom.patterns.products": "gpu_dot gpu_norm",
    "loom.patterns.reduce": "gpu_max gpu_mean gpu_min gpu_product gpu_sum",
    "loom.patterns.scan": "gpu_scan",
    "loom.patterns.search": "gpu_searchsorted gpu_unique",
    "loom.patterns.segment_scan": "gpu_segment_scan",
    "loom.patterns.select": "gpu_partition gpu_topk",
    "loom.patterns.sieve": "gpu_prime_count gpu_primes",
    "loom.patterns.sort": "gpu_argsort gpu_sort gpu_sort_pairs",
    "loom.proof.attestation": "verify",
    "loom.pytorch.importing": "from_torch",
    "loom.runtime.port.budget": "max_units vram_budget",
    "loom.runtime.calls.kernels": "kernel",
    "loom.runtime.chain.program": "Program Submission",
    "loom.runtime.chain.record": "Chain",
    "loom.runtime.chain.swarm": "Swarm swarm",
    "loom.runtime.memory.frames": "Frame",
    "loom.runtime.units.monitor": "publish",
    "loom.runtime.explain": "Explanation explain",
    "loom.runtime.port.profile": "Profile profile",
    "loom.tensor.ops.precision": "precision",
    "loom.runtime.registry": "device devices",
    "loom.runtime.units.unit": "boot Unit",
    "loom.support.engine": "Engine View",
    "loom.support.mailbox": "Mailbox mailbox",
    "loom.support.main_loom": "MainLoom",
    "loom.support.parking": "park release spawn unpark warm",
    "loom.support.presenters": "Latest Page PngSequence",
    "loom.support.service": "Support",
    "loom.support.stats": "Stats",
    "loom.support.window": "Event Window",
    "loom.tensor.creation.creation": "from_dlpack",
    "loom.tensor.arrays.tensor": "Array array",
}  # fmt: skip
"""The names that each module gives."""

register()  # before other threads load more

_WHERE = {**_MODULES, **{name: module for module, names in _NAMES.items() for name in names.split()}}
"""Where each public name is defined."""
_VECTOR_SUFFIXES = ("x2", "x3", "x4")

__all__ = ["__version__", *_WHERE]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    try:
        return _find(name)
    except ImportError:
        if (found := end_of_process(f"loom.{name}")) is None:
            raise
    raise found


def _find(name: str) -> object:
    module = _WHERE.get(name)
    if module is not None:
        if name in _MODULES:
            found = import_module(f"{module}.{name}")
        else:
            from loom.core.tracebacks import public

            try:
                found = public(getattr(import_module(module), name))
            except (AttributeError, ImportError):
                from loom.core.process.inner_imports import refuse_half_loaded

                refuse_half_loaded(module, f"loom.{name}")
                raise
        return globals().setdefault(name, found)  # of threads that ask at once all get one function
    if name.endswith(_VECTOR_SUFFIXES) and name[:-2] in _NAMES["loom.core.dtype"].split():
        from loom.core.dtype import lookup

        return lookup(name)
    from loom.core.names import missing_name

    elsewhere = "" if name.startswith("_") else import_module("loom.flow.elsewhere").where_it_is(name)
    raise missing_name("loom", name, _WHERE, elsewhere)


def __dir__() -> list[str]:
    return sorted(__all__)
