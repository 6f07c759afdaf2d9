"""The public names of ``loom``; written by ``tools/door.py``."""

from typing import Any

from loom import cluster as cluster
from loom import flow as flow
from loom import models as models
from loom import nn as nn
from loom import onnx as onnx
from loom import pytorch as pytorch
from loom import tables as tables
from loom import tensor as tensor
from loom import vectors as vectors
from loom.core.dtype import DType as DType
from loom.core.dtype import bf16 as bf16
from loom.core.dtype import bool_ as bool_
from loom.core.dtype import c64 as c64
from loom.core.dtype import c128 as c128
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
from loom.core.fixed import fixed as fixed
from loom.core.numerics import Guarantee as Guarantee
from loom.core.version import __version__ as __version__
from loom.ir.frontend.base.annotations import In as In
from loom.ir.frontend.base.annotations import InOut as InOut
from loom.ir.frontend.base.annotations import Out as Out
from loom.ir.frontend.base.annotations import TypeVar as TypeVar
from loom.ir.frontend.data.structs import struct as struct
from loom.ir.frontend.intrinsics import barrier as barrier
from loom.ir.frontend.intrinsics import bitcast as bitcast
from loom.ir.frontend.intrinsics import global_id as global_id
from loom.ir.frontend.intrinsics import group_id as group_id
from loom.ir.frontend.intrinsics import local_id as local_id
from loom.ir.frontend.intrinsics import num_groups as num_groups
from loom.ir.frontend.intrinsics import private as private
from loom.ir.frontend.intrinsics import select as select
from loom.ir.frontend.intrinsics import shared as shared
from loom.ir.frontend.intrinsics import static_range as static_range
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
from loom.kernels.functions.exact import copysign as copysign
from loom.kernels.functions.exact import fmod as fmod
from loom.kernels.functions.exact import nextafter as nextafter
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
from loom.kernels.functions.inverse_hyperbolic import acosh as acosh
from loom.kernels.functions.inverse_hyperbolic import asinh as asinh
from loom.kernels.functions.inverse_hyperbolic import atanh as atanh
from loom.kernels.functions.logarithm import log as log
from loom.kernels.functions.logarithm import log1p as log1p
from loom.kernels.functions.logarithm import log2 as log2
from loom.kernels.functions.logarithm import log10 as log10
from loom.kernels.functions.power import cbrt as cbrt
from loom.kernels.functions.power import hypot as hypot
from loom.kernels.functions.power import pow as pow
from loom.kernels.functions.power import rsqrt as rsqrt
from loom.kernels.functions.trigonometric import cos as cos
from loom.kernels.functions.trigonometric import sin as sin
from loom.kernels.functions.trigonometric import tan as tan
from loom.kernels.group.collective import group_all as group_all
from loom.kernels.group.collective import group_any as group_any
from loom.kernels.group.collective import group_broadcast as group_broadcast
from loom.kernels.group.collective import group_count as group_count
from loom.kernels.group.collective import group_max as group_max
from loom.kernels.group.collective import group_min as group_min
from loom.kernels.group.collective import group_scan as group_scan
from loom.kernels.group.collective import group_sum as group_sum
from loom.kernels.maps.by_index import random_bits as random_bits
from loom.kernels.maps.by_index import random_f32 as random_f32
from loom.kernels.maps.by_index import random_f64 as random_f64
from loom.kernels.maps.by_index import random_normal as random_normal
from loom.kernels.maps.by_index import random_normal_f64 as random_normal_f64
from loom.kernels.maps.by_index import random_u32 as random_u32
from loom.kernels.maps.by_index import random_u64 as random_u64
from loom.kernels.maps.by_index import random_words as random_words
from loom.nn.network import Network as Network
from loom.patterns import data as data
from loom.patterns import linalg as linalg
from loom.patterns import random as random
from loom.patterns import signal as signal
from loom.patterns import stats as stats
from loom.patterns.arg_reduce import gpu_argmax as gpu_argmax
from loom.patterns.arg_reduce import gpu_argmin as gpu_argmin
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
from loom.patterns.matmul import gpu_matmul as gpu_matmul
from loom.patterns.names.named import gpu_cumsum as gpu_cumsum
from loom.patterns.names.named import gpu_fft as gpu_fft
from loom.patterns.names.named import gpu_filter as gpu_filter
from loom.patterns.names.named import gpu_floor as gpu_floor
from loom.patterns.names.named import gpu_median as gpu_median
from loom.patterns.names.named import gpu_mod as gpu_mod
from loom.patterns.names.named import gpu_range as gpu_range
from loom.patterns.names.named import gpu_relu as gpu_relu
from loom.patterns.names.named import gpu_round as gpu_round
from loom.patterns.names.named import gpu_sign as gpu_sign
from loom.patterns.names.named import gpu_square as gpu_square
from loom.patterns.names.named import gpu_std as gpu_std
from loom.patterns.names.named import gpu_transpose as gpu_transpose
from loom.patterns.names.named import gpu_var as gpu_var
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
from loom.pytorch.importing import from_torch as from_torch
from loom.runtime.calls.kernels import kernel as kernel
from loom.runtime.chain.program import Program as Program
from loom.runtime.chain.program import Submission as Submission
from loom.runtime.chain.record import Chain as Chain
from loom.runtime.chain.swarm import Swarm as Swarm
from loom.runtime.chain.swarm import swarm as swarm
from loom.runtime.explain import Explanation as Explanation
from loom.runtime.explain import explain as explain
from loom.runtime.memory.frames import Frame as Frame
from loom.runtime.port.budget import max_units as max_units
from loom.runtime.port.budget import vram_budget as vram_budget
from loom.runtime.port.profile import Profile as Profile
from loom.runtime.port.profile import profile as profile
from loom.runtime.registry import device as device
from loom.runtime.registry import devices as devices
from loom.runtime.units.monitor import publish as publish
from loom.runtime.units.unit import Unit as Unit
from loom.runtime.units.unit import boot as boot
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
from loom.support.window import Event as Event
from loom.support.window import Window as Window
from loom.tensor.arrays.tensor import Array as Array
from loom.tensor.arrays.tensor import array as array
from loom.tensor.creation.creation import from_dlpack as from_dlpack
from loom.tensor.ops.precision import precision as precision

def atomic_add(memory: Any, index: Any, value: Any) -> Any:
    """In one step: memory[i] += v; gives the old value (integers of 32 or 64 bits).

    Args:
        memory: Buffer, or a shared array.
        index: Index of the element, of several axes a tuple.
        value: Number of its type, the v above.

    Returns:
        The element as it was before.
    """

def atomic_and(memory: Any, index: Any, value: Any) -> Any:
    """In one step: memory[i] &= v; gives the old value (integers of 32 or 64 bits).

    Args:
        memory: Buffer, or a shared array.
        index: Index of the element, of several axes a tuple.
        value: Number of its type, the v above.

    Returns:
        The element as it was before.
    """

def atomic_compare_exchange(memory: Any, index: Any, expected: Any, value: Any) -> Any:
    """In one step: memory[i] = v if it equals the expected value; gives the old value (integers of 32 or 64 bits).

    Args:
        memory: Buffer, or a shared array.
        index: Index of the element, of several axes a tuple.
        expected: Number of its type that it is compared with.
        value: Number of its type, the v above.

    Returns:
        The element as it was before.
    """

def atomic_exchange(memory: Any, index: Any, value: Any) -> Any:
    """In one step: memory[i] = v; gives the old (integers of 32 or 64 bits).

    Args:
        memory: Buffer, or a shared array.
        index: Index of the element, of several axes a tuple.
        value: Number of its type, the v above.

    Returns:
        The element as it was before.
    """

def atomic_max(memory: Any, index: Any, value: Any) -> Any:
    """In one step: memory[i] = max; gives the old value (integers of 32 or 64 bits).

    Args:
        memory: Buffer, or a shared array.
        index: Index of the element, of several axes a tuple.
        value: Number of its type, the v above.

    Returns:
        The element as it was before.
    """

def atomic_min(memory: Any, index: Any, value: Any) -> Any:
    """In one step: memory[i] = min; gives the old value (integers of 32 or 64 bits).

    Args:
        memory: Buffer, or a shared array.
        index: Index of the element, of several axes a tuple.
        value: Number of its type, the v above.

    Returns:
        The element as it was before.
    """

def atomic_or(memory: Any, index: Any, value: Any) -> Any:
    """In one step: memory[i] |= v; gives the old value (integers of 32 or 64 bits).

    Args:
        memory: Buffer, or a shared array.
        index: Index of the element, of several axes a tuple.
        value: Number of its type, the v above.

    Returns:
        The element as it was before.
    """

def atomic_xor(memory: Any, index: Any, value: Any) -> Any:
    """In one step: memory[i] ^= v; gives the old value (integers of 32 or 64 bits).

    Args:
        memory: Buffer, or a shared array.
        index: Index of the element, of several axes a tuple.
        value: Number of its type, the v above.

    Returns:
        The element as it was before.
    """

def ceil(x: Any) -> Any:
    """In each lane: round toward plus infinity (f32 or f64).

    Args:
        x: Number, or a vector of numbers.

    Returns:
        Number of the operand's type.
    """

def clz(x: Any) -> Any:
    """In each lane: number of leading zeros (an integer).

    Args:
        x: Number, or a vector of numbers.

    Returns:
        Number of the operand's type.
    """

def dot2_i16(a: Any, b: Any, c: Any) -> Any:
    """In each lane: c + the sum of two products of i16 (i32).

    Args:
        a: Number, or a vector of numbers.
        b: One of the same type.
        c: One of the same type.

    Returns:
        Number of the operands' type.
    """

def dot4_i8(a: Any, b: Any, c: Any) -> Any:
    """In each lane: c + the sum of four products of i8 (i32).

    Args:
        a: Number, or a vector of numbers.
        b: One of the same type.
        c: One of the same type.

    Returns:
        Number of the operands' type.
    """

def dot4_u8i8(a: Any, b: Any, c: Any) -> Any:
    """In each lane: c + the sum of four products, u8 of a by i8 of b (i32).

    Args:
        a: Number, or a vector of numbers.
        b: One of the same type.
        c: One of the same type.

    Returns:
        Number of the operands' type.
    """

def floor(x: Any) -> Any:
    """In each lane: round toward minus infinity (f32 or f64).

    Args:
        x: Number, or a vector of numbers.

    Returns:
        Number of the operand's type.
    """

def fma(a: Any, b: Any, c: Any) -> Any:
    """In each lane: a * b + c, where a * b is exact (operands by its own rule).

    Args:
        a: Number, or a vector of numbers.
        b: One of the same type.
        c: One of the same type.

    Returns:
        Number of the operands' type.
    """

def idiv(a: Any, b: Any) -> Any:
    """In each lane: a / b toward zero; x / 0 = 0 (an integer).

    Args:
        a: Number, or a vector of numbers.
        b: One of the same type.

    Returns:
        Number of the operands' type.
    """

def irem(a: Any, b: Any) -> Any:
    """In each lane: a - (a / b) b; x % 0 = x (an integer).

    Args:
        a: Number, or a vector of numbers.
        b: One of the same type.

    Returns:
        Number of the operands' type.
    """

def mulhi(a: Any, b: Any) -> Any:
    """In each lane: high half of the product (an integer).

    Args:
        a: Number, or a vector of numbers.
        b: One of the same type.

    Returns:
        Number of the operands' type.
    """

def popcount(x: Any) -> Any:
    """In each lane: number of one bits (an integer).

    Args:
        x: Number, or a vector of numbers.

    Returns:
        Number of the operand's type.
    """

def rint(x: Any) -> Any:
    """In each lane: round to nearest, halves to even (f32 or f64).

    Args:
        x: Number, or a vector of numbers.

    Returns:
        Number of the operand's type.
    """

def sqrt(x: Any) -> Any:
    """In each lane: square root, correctly rounded (f32 or f64).

    Args:
        x: Number, or a vector of numbers.

    Returns:
        Number of the operand's type.
    """

def trunc(x: Any) -> Any:
    """In each lane: round toward zero (f32 or f64).

    Args:
        x: Number, or a vector of numbers.

    Returns:
        Number of the operand's type.
    """

def __getattr__(name: str) -> Any: ...  # pyright: ignore[reportIncompleteStub] - short vectors, such as f32x4
