"""Loom: write a kernel once in Python, run it anywhere, get the same bits.

The public names below are loaded when first used, so that importing Loom costs little.

>>> import loom
>>> loom.gpu_sum([1, 2, 3]).item()
6
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from loom.core.version import __version__

if TYPE_CHECKING:
    from loom import flow as flow
    from loom import nn as nn
    from loom import tensor as tensor
    from loom.core.dtype import DType as DType
    from loom.core.dtype import bf16 as bf16
    from loom.core.dtype import bool_ as bool_
    from loom.core.dtype import f16 as f16
    from loom.core.dtype import f32 as f32
    from loom.core.dtype import f64 as f64
    from loom.core.dtype import i8 as i8
    from loom.core.dtype import i16 as i16
    from loom.core.dtype import i32 as i32
    from loom.core.dtype import i64 as i64
    from loom.core.dtype import u8 as u8
    from loom.core.dtype import u16 as u16
    from loom.core.dtype import u32 as u32
    from loom.core.dtype import u64 as u64
    from loom.core.errors import LoomError as LoomError
    from loom.core.numerics import Guarantee as Guarantee
    from loom.ir.frontend.annotations import In as In
    from loom.ir.frontend.annotations import InOut as InOut
    from loom.ir.frontend.annotations import Out as Out
    from loom.ir.frontend.decorator import kernel as kernel
    from loom.ir.frontend.intrinsics import atomic_add as atomic_add
    from loom.ir.frontend.intrinsics import atomic_and as atomic_and
    from loom.ir.frontend.intrinsics import atomic_compare_exchange as atomic_compare_exchange
    from loom.ir.frontend.intrinsics import atomic_exchange as atomic_exchange
    from loom.ir.frontend.intrinsics import atomic_max as atomic_max
    from loom.ir.frontend.intrinsics import atomic_min as atomic_min
    from loom.ir.frontend.intrinsics import atomic_or as atomic_or
    from loom.ir.frontend.intrinsics import atomic_xor as atomic_xor
    from loom.ir.frontend.intrinsics import barrier as barrier
    from loom.ir.frontend.intrinsics import bitcast as bitcast
    from loom.ir.frontend.intrinsics import ceil as ceil
    from loom.ir.frontend.intrinsics import clz as clz
    from loom.ir.frontend.intrinsics import floor as floor
    from loom.ir.frontend.intrinsics import global_id as global_id
    from loom.ir.frontend.intrinsics import group_id as group_id
    from loom.ir.frontend.intrinsics import idiv as idiv
    from loom.ir.frontend.intrinsics import irem as irem
    from loom.ir.frontend.intrinsics import local_id as local_id
    from loom.ir.frontend.intrinsics import mulhi as mulhi
    from loom.ir.frontend.intrinsics import num_groups as num_groups
    from loom.ir.frontend.intrinsics import popcount as popcount
    from loom.ir.frontend.intrinsics import private as private
    from loom.ir.frontend.intrinsics import rint as rint
    from loom.ir.frontend.intrinsics import select as select
    from loom.ir.frontend.intrinsics import shared as shared
    from loom.ir.frontend.intrinsics import sqrt as sqrt
    from loom.ir.frontend.intrinsics import static_range as static_range
    from loom.ir.frontend.intrinsics import trunc as trunc
    from loom.ir.frontend.intrinsics import workgroup_size as workgroup_size
    from loom.ir.interp.debugger import debug as debug
    from loom.kernels.functions.bessel import j0 as j0
    from loom.kernels.functions.bessel import j1 as j1
    from loom.kernels.functions.bessel import y0 as y0
    from loom.kernels.functions.bessel import y1 as y1
    from loom.kernels.functions.error import erf as erf
    from loom.kernels.functions.error import erfc as erfc
    from loom.kernels.functions.error import gelu as gelu
    from loom.kernels.functions.error import gelu_tanh as gelu_tanh
    from loom.kernels.functions.exponential import exp as exp
    from loom.kernels.functions.exponential import exp2 as exp2
    from loom.kernels.functions.exponential import expm1 as expm1
    from loom.kernels.functions.exponential import sigmoid as sigmoid
    from loom.kernels.functions.gamma import gamma as gamma
    from loom.kernels.functions.gamma import lgamma as lgamma
    from loom.kernels.functions.hyperbolic import cosh as cosh
    from loom.kernels.functions.hyperbolic import sinh as sinh
    from loom.kernels.functions.hyperbolic import tanh as tanh
    from loom.kernels.functions.inverse import acos as acos
    from loom.kernels.functions.inverse import asin as asin
    from loom.kernels.functions.inverse import atan as atan
    from loom.kernels.functions.inverse import atan2 as atan2
    from loom.kernels.functions.logarithm import log as log
    from loom.kernels.functions.logarithm import log1p as log1p
    from loom.kernels.functions.logarithm import log2 as log2
    from loom.kernels.functions.power import cbrt as cbrt
    from loom.kernels.functions.power import pow as pow  # noqa: A004 - as in numpy
    from loom.kernels.functions.power import rsqrt as rsqrt
    from loom.kernels.functions.trigonometric import cos as cos
    from loom.kernels.functions.trigonometric import sin as sin
    from loom.kernels.functions.trigonometric import tan as tan
    from loom.nn.network import Network as Network
    from loom.patterns import data as data
    from loom.patterns import linalg as linalg
    from loom.patterns import random as random
    from loom.patterns import signal as signal
    from loom.patterns import stats as stats
    from loom.patterns.arg_reduce import gpu_argmax as gpu_argmax
    from loom.patterns.arg_reduce import gpu_argmin as gpu_argmin
    from loom.patterns.calling.call import array as array
    from loom.patterns.logical import gpu_all as gpu_all
    from loom.patterns.logical import gpu_any as gpu_any
    from loom.patterns.logical import gpu_count as gpu_count
    from loom.patterns.maps.elementwise import gpu_abs as gpu_abs
    from loom.patterns.maps.elementwise import gpu_add as gpu_add
    from loom.patterns.maps.elementwise import gpu_cast as gpu_cast
    from loom.patterns.maps.elementwise import gpu_clip as gpu_clip
    from loom.patterns.maps.elementwise import gpu_cos as gpu_cos
    from loom.patterns.maps.elementwise import gpu_div as gpu_div
    from loom.patterns.maps.elementwise import gpu_equal as gpu_equal
    from loom.patterns.maps.elementwise import gpu_erf as gpu_erf
    from loom.patterns.maps.elementwise import gpu_exp as gpu_exp
    from loom.patterns.maps.elementwise import gpu_gelu as gpu_gelu
    from loom.patterns.maps.elementwise import gpu_greater as gpu_greater
    from loom.patterns.maps.elementwise import gpu_less as gpu_less
    from loom.patterns.maps.elementwise import gpu_log as gpu_log
    from loom.patterns.maps.elementwise import gpu_maximum as gpu_maximum
    from loom.patterns.maps.elementwise import gpu_minimum as gpu_minimum
    from loom.patterns.maps.elementwise import gpu_mul as gpu_mul
    from loom.patterns.maps.elementwise import gpu_neg as gpu_neg
    from loom.patterns.maps.elementwise import gpu_pow as gpu_pow
    from loom.patterns.maps.elementwise import gpu_rsqrt as gpu_rsqrt
    from loom.patterns.maps.elementwise import gpu_sigmoid as gpu_sigmoid
    from loom.patterns.maps.elementwise import gpu_sin as gpu_sin
    from loom.patterns.maps.elementwise import gpu_sqrt as gpu_sqrt
    from loom.patterns.maps.elementwise import gpu_sub as gpu_sub
    from loom.patterns.maps.elementwise import gpu_tanh as gpu_tanh
    from loom.patterns.maps.elementwise import gpu_where as gpu_where
    from loom.patterns.maps.map import gpu_map as gpu_map
    from loom.patterns.maps.named import gpu_cumsum as gpu_cumsum
    from loom.patterns.maps.named import gpu_fft as gpu_fft
    from loom.patterns.maps.named import gpu_filter as gpu_filter
    from loom.patterns.maps.named import gpu_floor as gpu_floor
    from loom.patterns.maps.named import gpu_median as gpu_median
    from loom.patterns.maps.named import gpu_mod as gpu_mod
    from loom.patterns.maps.named import gpu_range as gpu_range
    from loom.patterns.maps.named import gpu_relu as gpu_relu
    from loom.patterns.maps.named import gpu_round as gpu_round
    from loom.patterns.maps.named import gpu_sign as gpu_sign
    from loom.patterns.maps.named import gpu_square as gpu_square
    from loom.patterns.maps.named import gpu_std as gpu_std
    from loom.patterns.maps.named import gpu_transpose as gpu_transpose
    from loom.patterns.maps.named import gpu_var as gpu_var
    from loom.patterns.matmul import gpu_matmul as gpu_matmul
    from loom.patterns.neural import gpu_attention as gpu_attention
    from loom.patterns.neural import gpu_ffn as gpu_ffn
    from loom.patterns.neural import gpu_rmsnorm as gpu_rmsnorm
    from loom.patterns.neural import gpu_rope as gpu_rope
    from loom.patterns.neural import gpu_silu as gpu_silu
    from loom.patterns.neural import gpu_softmax as gpu_softmax
    from loom.patterns.products import gpu_dot as gpu_dot
    from loom.patterns.products import gpu_norm as gpu_norm
    from loom.patterns.reduce import gpu_max as gpu_max
    from loom.patterns.reduce import gpu_mean as gpu_mean
    from loom.patterns.reduce import gpu_min as gpu_min
    from loom.patterns.reduce import gpu_product as gpu_product
    from loom.patterns.reduce import gpu_sum as gpu_sum
    from loom.patterns.scan import gpu_scan as gpu_scan
    from loom.patterns.search import gpu_searchsorted as gpu_searchsorted
    from loom.patterns.search import gpu_unique as gpu_unique
    from loom.patterns.segment_scan import gpu_segment_scan as gpu_segment_scan
    from loom.patterns.select import gpu_partition as gpu_partition
    from loom.patterns.select import gpu_topk as gpu_topk
    from loom.patterns.sieve import gpu_prime_count as gpu_prime_count
    from loom.patterns.sieve import gpu_primes as gpu_primes
    from loom.patterns.sort import gpu_argsort as gpu_argsort
    from loom.patterns.sort import gpu_sort as gpu_sort
    from loom.patterns.sort import gpu_sort_pairs as gpu_sort_pairs
    from loom.proof.attestation import verify as verify
    from loom.runtime.array import Array as Array
    from loom.runtime.budget import max_units as max_units
    from loom.runtime.budget import vram_budget as vram_budget
    from loom.runtime.chain.program import Program as Program
    from loom.runtime.chain.program import Submission as Submission
    from loom.runtime.chain.record import Chain as Chain
    from loom.runtime.chain.swarm import Swarm as Swarm
    from loom.runtime.chain.swarm import swarm as swarm
    from loom.runtime.frames import Frame as Frame
    from loom.runtime.monitor import publish as publish
    from loom.runtime.profile import Profile as Profile
    from loom.runtime.profile import profile as profile
    from loom.runtime.registry import device as device
    from loom.runtime.registry import devices as devices
    from loom.runtime.unit import Unit as Unit
    from loom.runtime.unit import boot as boot
    from loom.support.engine import Engine as Engine
    from loom.support.engine import View as View
    from loom.support.mailbox import Mailbox as Mailbox
    from loom.support.mailbox import mailbox as mailbox
    from loom.support.main_loom import MainLoom as MainLoom
    from loom.support.parking import park as park
    from loom.support.parking import release as release
    from loom.support.parking import spawn as spawn
    from loom.support.parking import unpark as unpark
    from loom.support.parking import warm as warm
    from loom.support.presenters import Latest as Latest
    from loom.support.presenters import Page as Page
    from loom.support.presenters import PngSequence as PngSequence
    from loom.support.service import Support as Support
    from loom.support.stats import Stats as Stats

_SCALARS = ("bf16", "bool_", "f16", "f32", "f64", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64")
_INSIDE_KERNELS = (
    "atomic_add", "atomic_and", "atomic_compare_exchange", "atomic_exchange", "atomic_max", "atomic_min",
    "atomic_or", "atomic_xor", "barrier", "bitcast", "ceil", "clz", "floor", "global_id", "group_id", "idiv",
    "irem", "local_id", "mulhi", "num_groups", "popcount", "private", "rint", "select", "shared", "sqrt",
    "static_range", "trunc", "workgroup_size",
)  # fmt: skip
_MAPS = (
    "gpu_abs", "gpu_add", "gpu_cast", "gpu_clip", "gpu_cos", "gpu_div", "gpu_equal", "gpu_erf", "gpu_exp",
    "gpu_gelu", "gpu_greater", "gpu_less", "gpu_log", "gpu_maximum", "gpu_minimum", "gpu_mul", "gpu_neg", "gpu_pow",
    "gpu_rsqrt", "gpu_sigmoid", "gpu_sin", "gpu_sqrt", "gpu_sub", "gpu_tanh", "gpu_where",
)  # fmt: skip

_MODULES = ("data", "linalg", "random", "signal", "stats")
"""Names that are modules of ``loom.patterns``: families of functions, called as ``loom.stats.mean(...)``."""
_PACKAGES = ("flow", "nn", "tensor")
"""Names that are packages of their own."""

_NAMES: dict[str, tuple[str, ...]] = {
    "loom": _PACKAGES,
    "loom.core.dtype": ("DType", *_SCALARS),
    "loom.core.errors": ("LoomError",),
    "loom.core.numerics": ("Guarantee",),
    "loom.ir.frontend.annotations": ("In", "InOut", "Out"),
    "loom.ir.frontend.decorator": ("kernel",),
    "loom.ir.frontend.intrinsics": _INSIDE_KERNELS,
    "loom.ir.interp.debugger": ("debug",),
    "loom.kernels.functions.bessel": ("j0", "j1", "y0", "y1"),
    "loom.kernels.functions.error": ("erf", "erfc", "gelu", "gelu_tanh"),
    "loom.kernels.functions.exponential": ("exp", "exp2", "expm1", "sigmoid"),
    "loom.kernels.functions.gamma": ("gamma", "lgamma"),
    "loom.kernels.functions.hyperbolic": ("cosh", "sinh", "tanh"),
    "loom.kernels.functions.inverse": ("acos", "asin", "atan", "atan2"),
    "loom.kernels.functions.logarithm": ("log", "log1p", "log2"),
    "loom.kernels.functions.power": ("cbrt", "pow", "rsqrt"),
    "loom.kernels.functions.trigonometric": ("cos", "sin", "tan"),
    "loom.nn.network": ("Network",),
    "loom.patterns": _MODULES,
    "loom.patterns.arg_reduce": ("gpu_argmax", "gpu_argmin"),
    "loom.patterns.calling.call": ("array",),
    "loom.patterns.maps.elementwise": _MAPS,
    "loom.patterns.logical": ("gpu_all", "gpu_any", "gpu_count"),
    "loom.patterns.maps.map": ("gpu_map",),
    "loom.patterns.matmul": ("gpu_matmul",),
    "loom.patterns.maps.named": (
        "gpu_cumsum",
        "gpu_fft",
        "gpu_filter",
        "gpu_floor",
        "gpu_median",
        "gpu_mod",
        "gpu_range",
        "gpu_relu",
        "gpu_round",
        "gpu_sign",
        "gpu_square",
        "gpu_std",
        "gpu_transpose",
        "gpu_var",
    ),
    "loom.patterns.neural": ("gpu_attention", "gpu_ffn", "gpu_rmsnorm", "gpu_rope", "gpu_silu", "gpu_softmax"),
    "loom.patterns.products": ("gpu_dot", "gpu_norm"),
    "loom.patterns.reduce": ("gpu_max", "gpu_mean", "gpu_min", "gpu_product", "gpu_sum"),
    "loom.patterns.scan": ("gpu_scan",),
    "loom.patterns.search": ("gpu_searchsorted", "gpu_unique"),
    "loom.patterns.segment_scan": ("gpu_segment_scan",),
    "loom.patterns.select": ("gpu_partition", "gpu_topk"),
    "loom.patterns.sieve": ("gpu_prime_count", "gpu_primes"),
    "loom.patterns.sort": ("gpu_argsort", "gpu_sort", "gpu_sort_pairs"),
    "loom.proof.attestation": ("verify",),
    "loom.runtime.array": ("Array",),
    "loom.runtime.chain.program": ("Program", "Submission"),
    "loom.runtime.chain.record": ("Chain",),
    "loom.runtime.chain.swarm": ("Swarm", "swarm"),
    "loom.runtime.registry": ("device", "devices"),
    "loom.runtime.monitor": ("publish",),
    "loom.runtime.profile": ("Profile", "profile"),
    "loom.runtime.budget": ("max_units", "vram_budget"),
    "loom.support.engine": ("Engine", "View"),
    "loom.runtime.frames": ("Frame",),
    "loom.support.mailbox": ("Mailbox", "mailbox"),
    "loom.support.main_loom": ("MainLoom",),
    "loom.support.parking": ("park", "release", "spawn", "unpark", "warm"),
    "loom.support.presenters": ("Latest", "Page", "PngSequence"),
    "loom.support.service": ("Support",),
    "loom.support.stats": ("Stats",),
    "loom.runtime.unit": ("Unit", "boot"),
}
"""Where each public name is defined; the imports above say the same to type checkers (tested)."""

_WHERE = {name: module for module, names in _NAMES.items() for name in names}
_VECTOR_SUFFIXES = ("x2", "x3", "x4")

__all__ = ["__version__", *_WHERE]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name.endswith(_VECTOR_SUFFIXES) and name[:-2] in _SCALARS:
        from loom.core.dtype import lookup

        return lookup(name)
    module = _WHERE.get(name)
    if module is None:
        from loom.core.names import missing_name

        elsewhere = "" if name.startswith("_") else import_module("loom.flow.elsewhere").where_it_is(name)
        raise missing_name("loom", name, _WHERE, elsewhere)
    value = (
        import_module(f"{module}.{name}") if name in (*_MODULES, *_PACKAGES) else getattr(import_module(module), name)
    )
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
