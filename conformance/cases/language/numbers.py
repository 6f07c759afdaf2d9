"""Random numbers, exact division and root, f64 functions: kernels of the library whose integers must be right anywhere.

Oracles besides the interpreter: Philox's published words, numpy's correctly rounded quotients and roots.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import loom
from conformance.running import Case, case
from conformance.values import adversarial, random_bits
from loom import In, Out, bitcast, f32, f64, sqrt, u32
from loom.core.dtype import DType, bf16, f16, i8, i64, u64
from loom.core.philox import philox
from loom.ir.passes.words.exact import exact_div, exact_sqrt
from loom.kernels.maps import random
from loom.kernels.maps.nest import one_value
from loom.kernels.maps.random import Draw
from loom.schedules.maps import LANES, map_kernel

__all__: list[str] = []

_SEEDS = np.array([0x76543210, 0xFEDCBA98, 7], np.uint32)
_ZERO = np.zeros(3, np.uint32)
_KNOWN = np.array([0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8], np.uint32)
_MODES = ("trusted", "reported")


def _draw(draw: Draw, seeds: Any, numbers: Any, n: int, **known: Any) -> Case:
    kernel = draw.kernel.verified.kernel
    out = np.zeros(n, kernel.buffers[2].dtype.numpy)
    groups = -(-n // (draw.per_block * random.RANDOM_LANES))
    return Case(kernel, (seeds, numbers, out), (n,), groups=(groups, 1, 1), expected=known, modes=_MODES)


_NUMBERS: dict[str, tuple[Draw, Any]] = {
    "bits-u64": (random.bits(u64), np.zeros(1, np.uint32)),
    "integers-i8": (random.integers(i8), np.array([2**64 - 5, 11, 2**64 % 11], np.uint64)),
    "integers-i64": (random.integers(i64), np.array([3, 2**63 + 9, 2**64 % (2**63 + 9)], np.uint64)),
    "coins": (random.coins(kept=False), np.array([1 << 30], np.uint64)),
    "kept": (random.coins(kept=True), np.array([1 << 30], np.uint64)),
    **{f"uniform-{t}": (random.uniform(t), np.array([-1.25, 3.1], np.float32)) for t in (f32, f16, bf16)},
    **{f"normal-{t}": (random.normal(t), np.array([0.1, 2.5], np.float32)) for t in (f32, f16, bf16)},
    "uniform-f64": (random.uniform(f64), np.array([-1.25, 3.1])),
    "normal-f64": (random.normal(f64), np.array([0.1, 2.5])),
}
case("library/random-known")(partial(_draw, random.bits(u32), _ZERO, np.zeros(1, np.uint32), 4, out=_KNOWN))
case("library/random-step")(partial(_draw, random.step_bits(), np.append(_SEEDS, _SEEDS[:1]), _SEEDS[1:2], 1502))


@case("library/random-later")
def _later() -> Case:
    """1,003 words from the middle of a block on, beyond 2^32 elements."""
    kernel = random.later_bits().kernel.verified.kernel
    firsts, n = np.array([0xFFFF_FFFF // 11 + 0x1234_5677], np.uint32), 1003
    seeds = np.append(_SEEDS, np.array([5, 11], np.uint32))
    begin = int(firsts[0]) * 11
    blocks = np.arange(begin // 4, begin // 4 + n // 4 + 3, dtype=np.uint64) & np.uint64(0xFFFF_FFFF)
    words = np.stack(philox(blocks, 5, int(_SEEDS[1]), int(_SEEDS[2]), 0xFEDCBA98_76543210), 1).reshape(-1)
    known = words[begin % 4 :][:n].astype(np.uint32)
    out = np.zeros(n, np.uint32)
    groups = -(-n // (4 * random.RANDOM_LANES))
    return Case(kernel, (seeds, _SEEDS[1:2], firsts, out), (n,), groups=(groups, 1, 1), expected={"out": known},
                modes=_MODES)  # fmt: skip


for _name, (_drawn, _numbers) in _NUMBERS.items():
    case(f"library/random-{_name}", slow=_name[-4:] in ("bf16", "-f16"))(
        partial(_draw, _drawn, _SEEDS, _numbers, 1500 + len(_name) % 4)
    )


# division and root by integers, around an approximation that is up to 16 ulp off

_LANES = 64


def _disturbed(near: Any, seed: Any) -> Any:
    return bitcast(f32, bitcast(u32, near) + ((seed * 0x9E3779B1) >> 16) % 33 - 16)


def _quotient(a: Any, b: Any) -> Any:
    return _disturbed(a / b, bitcast(u32, a) ^ bitcast(u32, b))


def _root(a: Any) -> Any:
    return _disturbed(sqrt(a), bitcast(u32, a))


@loom.kernel(workgroup=_LANES, trusted=True)
def _exact(x: In[f32], y: In[f32], quotients: Out[f32], roots: Out[f32]):
    i = loom.global_id()
    quotients[i] = exact_div(x[i], y[i], _quotient)
    roots[i] = exact_sqrt(x[i], _root)


@case("library/exact-division-and-root")
def _division() -> Case:
    edges = np.asarray(adversarial(f32), np.float32)
    a, b = (grid.ravel() for grid in np.meshgrid(edges, edges))
    x, y = (np.concatenate([e, random_bits(f32.numpy, 2000, seed=n)]) for n, e in enumerate((a, b)))
    size = -(-x.size // _LANES) * _LANES
    x, y = np.resize(x, size), np.resize(y, size)
    with np.errstate(all="ignore"):
        known = {"quotients": x / y, "roots": np.sqrt(x)}
    out = np.zeros(size, np.float32)
    return Case(
        _exact.verified.kernel, (x, y, out, out.copy()), groups=(size // _LANES, 1, 1), expected=known, modes=_MODES
    )


# functions of f64


def _function(name: str, dtype: DType) -> Case:
    rng = np.random.default_rng(len(name))
    size = 2 * LANES - 9
    x = np.concatenate(
        [rng.uniform(-8, 8, size // 2), rng.integers(0, 1 << 64, size - size // 2, np.uint64).view(float)]
    )
    kernel = map_kernel(one_value(name, [(dtype, True)]), LANES)[0].kernel
    return Case(kernel, (x, np.zeros(size)), (size,), groups=(2, 1, 1), modes=_MODES)


for _name in ("exp", "log", "sin", "cos", "tanh", "erf"):
    case(f"library/f64-{_name}")(partial(_function, _name, f64))
