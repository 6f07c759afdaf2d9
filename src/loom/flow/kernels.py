"""The kernels that have paths: ``math``, ``reduce``, ``nn`` and ``vm``, over registers and globals as f32.

Layer: flow. Unless said otherwise a kernel works in place on all registers, a lane each, and ``wg`` is the number of
registers over 256, rounded up. Invariant: sums are in the order of ``loom.kernels.fold.tiles`` (up to 64 tiles of
4096), products in that of ``loom.kernels.matmul.tiles`` (up to 4096 columns), so that bits are those of the patterns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from loom.core.dtype import f32, u32
from loom.ir.frontend.base.annotations import In, InOut, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import barrier, floor, global_id, group_id, local_id, shared, sqrt, static_range
from loom.kernels.functions import function

__all__ = ["FILES"]

_exp, _log, _sin, _cos, _tanh = (function(name) for name in ("exp", "log", "sin", "cos", "tanh"))
_HALVES = (32, 16, 8, 4, 2, 1)
_TILE, _LANES = 4096, 64


def _unary(name: str, fn: Callable[[Any], Any]) -> KernelFunction:
    @kernel(workgroup=256)
    def unary(registers: InOut[f32]) -> None:
        """Put the function of each register in its place."""
        i = global_id()
        if i < len(registers):
            registers[i] = fn(registers[i])

    unary.name = name
    return unary


def _binary(name: str, fn: Callable[[Any, Any], Any]) -> KernelFunction:
    @kernel(workgroup=256)
    def binary(registers: InOut[f32], globals: In[f32]) -> None:  # noqa: A002 - a word of loom.flow
        """Put the function of each register and the global beside it in the register."""
        i = global_id()
        if i < len(registers) and i < len(globals):
            registers[i] = fn(registers[i], globals[i])

    binary.name = name
    return binary


@kernel(workgroup=256)
def vm_scale(registers: InOut[f32], factor: f32) -> None:
    """Multiply every register by ``factor``."""
    i = global_id()
    if i < len(registers):
        registers[i] = registers[i] * factor


def _add(a: Any, b: Any) -> Any:
    return a + b


def _fold_lanes(lanes: Any, lane: Any, value: Any, join: Any) -> None:
    """Join the values of 64 lanes by halves, in ``lanes[0]`` for all."""
    lanes[lane] = value
    barrier()
    for half in static_range(len(_HALVES)):
        if lane < _HALVES[half]:
            lanes[lane] = join(lanes[lane], lanes[lane + _HALVES[half]])
        barrier()


def _sum_of(registers: Any, first: Any, size: Any, lanes: Any, tiles: Any, lane: Any, of: Any) -> None:
    """Add ``of`` of ``size`` registers from ``first`` on, in ``lanes[0]`` for all."""
    tiles[lane] = 0.0
    barrier()
    for tile in range(0, size, _TILE):
        total = f32(0)
        for at in range(tile + lane, min(size, tile + _TILE), _LANES):
            total = total + of(registers[first + at])
        _fold_lanes(lanes, lane, total, _add)
        if lane == 0:
            tiles[tile // _TILE] = lanes[0]
        barrier()
    if size > _TILE:
        _fold_lanes(lanes, lane, tiles[lane], _add)


def _itself(x: Any) -> Any:
    return x


def _square(x: Any) -> Any:
    return x * x


@kernel(workgroup=_LANES)
def reduce_sum(registers: InOut[f32], size: u32) -> None:
    """Put the sum of the first ``size`` registers, 262,144 at most, in the one after them; one workgroup."""
    lanes, tiles, lane = shared(f32, _LANES), shared(f32, _LANES), local_id()
    _sum_of(registers, u32(0), size, lanes, tiles, lane, _itself)
    if lane == 0 and group_id() == 0:
        registers[size] = lanes[0]


def _extreme(name: str, join: Callable[[Any, Any], Any]) -> KernelFunction:
    @kernel(workgroup=_LANES)
    def extreme(registers: InOut[f32], size: u32) -> None:
        """Put the least (or largest) of the first ``size`` registers in the one after them; one workgroup."""
        lanes, lane = shared(f32, _LANES), local_id()
        found = registers[0]
        for at in range(lane, size, _LANES):
            found = join(found, registers[at])
        _fold_lanes(lanes, lane, found, join)
        if lane == 0 and group_id() == 0:
            registers[size] = lanes[0]

    extreme.name = name
    return extreme


@kernel(workgroup=_LANES)
def softmax(registers: InOut[f32], size: u32) -> None:
    """Put e^(x - max) over its sum in place, in rows of ``size`` registers; a workgroup for each row."""
    lanes, tiles, lane = shared(f32, _LANES), shared(f32, _LANES), local_id()
    first = group_id() * size
    most = registers[first]
    for at in range(lane, size, _LANES):
        most = max(most, registers[first + at])
    _fold_lanes(lanes, lane, most, max)
    top = lanes[0]
    barrier()
    for at in range(lane, size, _LANES):
        registers[first + at] = _exp(registers[first + at] - top)
    barrier()
    _sum_of(registers, first, size, lanes, tiles, lane, _itself)
    scale = 1.0 / lanes[0]
    for at in range(lane, size, _LANES):
        registers[first + at] = registers[first + at] * scale


@kernel(workgroup=_LANES)
def rmsnorm(registers: InOut[f32], globals: In[f32], size: u32, epsilon: f32) -> None:  # noqa: A002
    """Divide rows of ``size`` registers by the root of their mean square, times the globals; a workgroup a row."""
    lanes, tiles, lane = shared(f32, _LANES), shared(f32, _LANES), local_id()
    first = group_id() * size
    _sum_of(registers, first, size, lanes, tiles, lane, _square)
    scale = 1.0 / sqrt(lanes[0] / f32(size) + epsilon)
    for at in range(lane, size, _LANES):
        registers[first + at] = registers[first + at] * scale * globals[at]


@kernel(workgroup=256)
def rope(registers: InOut[f32], globals: In[f32], half: u32) -> None:  # noqa: A002
    """Turn pairs (d, d + half) of rows of 2 half registers by the angles in the globals, half of them a row."""
    i = global_id()
    if 2 * i < len(registers) and half > 0:
        at = (i // half) * 2 * half + i % half
        first, second = registers[at], registers[at + half]
        cosine, sine = _cos(globals[i]), _sin(globals[i])
        registers[at] = first * cosine - second * sine
        registers[at + half] = second * cosine + first * sine


@kernel(workgroup=256)
def matvec(registers: Out[f32], globals: In[f32], heap: In[f32], rows: u32, columns: u32) -> None:  # noqa: A002
    """Put the products of the globals, a matrix of ``rows`` and ``columns``, with the heap in the first registers."""
    row = global_id()
    if row < rows:
        total = f32(0)
        for block in range(0, columns, 128):
            part = f32(0)
            for k in range(block, min(columns, block + 128)):
                part = part + globals[row * columns + k] * heap[k]
            total = total + part
        registers[row] = total


def _silu(x: Any) -> Any:
    return x / (1.0 + _exp(-x))


def _files() -> dict[str, KernelFunction]:
    found: dict[str, KernelFunction] = {}
    unary: dict[str, Callable[[Any], Any]] = {
        "abs": abs, "neg": lambda x: -x, "square": _square, "floor": floor, "sqrt": sqrt, "exp": _exp, "log": _log,
        "sin": _sin, "cos": _cos, "tanh": _tanh,
    }  # fmt: skip
    binary: dict[str, Callable[[Any, Any], Any]] = {
        "add": _add, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b, "div": lambda a, b: a / b,
        "min": min, "max": max,
    }  # fmt: skip
    found |= {f"math/{name}": _unary(name, fn) for name, fn in unary.items()}
    found |= {f"math/{name}": _binary(name, fn) for name, fn in binary.items()}
    found |= {f"vm/vm_{name}": _binary(f"vm_{name}", binary[name]) for name in ("add", "sub", "mul", "div")}
    found |= {"vm/vm_scale": vm_scale, "vm/vm_relu": _unary("vm_relu", lambda x: max(x, 0.0))}
    found |= {"reduce/reduce_sum": reduce_sum, "reduce/reduce_min": _extreme("reduce_min", min)}
    found |= {"reduce/reduce_max": _extreme("reduce_max", max)}
    found |= {"nn/silu": _unary("silu", _silu), "nn/softmax": softmax, "nn/rmsnorm": rmsnorm, "nn/rope": rope}
    return found | {"nn/matvec": matvec}


FILES = _files()
"""Kernels by their names below ``stdlib/loom/kernels``."""
