"""Kernels as users write them: tables, tuples, type variables, numbers by index, groups, cells, short vectors.

Those of ``loom.proof.kernels``, which every device is held against. Oracles besides the interpreter: numpy, and the
library's own random numbers on the host.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from conformance.running import Case, case
from loom.core.dtype import f32, i32, u32
from loom.core.fixed import fixed
from loom.proof import kernels as written
from loom.proof.inputs import numbers

__all__: list[str] = []

SIZE = 301
Array = np.ndarray[Any, Any]


def _case(kernel: Any, *buffers: Array, params: tuple[Any, ...] = (), groups: int = 0, **known: Array) -> Case:
    verified = kernel.verified.kernel
    groups = groups or -(-SIZE // verified.workgroup[0])
    return Case(verified, buffers, params, groups=(groups, 1, 1), expected=known)


def _floats(seed: int, shape: Any = SIZE) -> Array:
    return numbers(shape, f32, seed, spread=4)


def _chosen() -> Case:
    x, i = _floats(1), np.arange(SIZE)
    three = np.stack([x, x * x, np.float32(1) - x])
    primes = np.array(written.PRIMES, np.float32)
    return _case(written.chosen, x, np.zeros(SIZE, np.float32), out=three[i % 3, i] * primes[(i * 7) % 5])


def _dotted(kind: Any) -> Case:
    x, y = (numbers(SIZE, kind, seed, spread=4) for seed in (2, 3))
    total, i = np.zeros(SIZE, kind.numpy), np.arange(SIZE)
    with np.errstate(over="ignore"):
        for k in range(8):
            total = total + x[(i + k) % SIZE] * y
    return _case(written.dotted[kind], x, y, np.zeros(SIZE, kind.numpy), out=total)


def _gathered() -> Case:
    x, groups = np.abs(_floats(4)), -(-SIZE // 96)
    padded = np.concatenate([x, np.zeros(groups * 96 - SIZE, np.float32)]).reshape(groups, 96)
    ends = np.stack([padded.min(1) + padded[:, 1], padded.max(1), (padded > 0).sum(1).astype(np.float32)], 1)
    outputs = [np.zeros(n, np.float32) for n in (groups, SIZE, 3 * groups)]
    return _case(written.gathered, x, *outputs, groups=groups, ends=ends.reshape(-1))


def _drawn() -> Case:
    from loom.patterns import random

    outputs = np.zeros(SIZE, np.float32), np.zeros(SIZE, np.float32), np.zeros(SIZE, np.uint32)
    uniform = np.asarray(random.uniform(SIZE, seed=77))
    return _case(written.drawn, *outputs, params=(77,), uniform=uniform)


def _scattered() -> Case:
    x, i = _floats(5), np.arange(SIZE)
    parts = (x - np.floor(x)).astype(np.float64)
    cells = np.zeros(17, np.int64)
    np.add.at(cells, (i * 13) % 17, np.rint(parts * 2.0**24).astype(np.int64))
    assert fixed(2**-24).scale == 2.0**-24
    return _case(written.scattered, x, np.zeros(17, np.int64), bins=cells)


def _turned() -> Case:
    x = _floats(6, (SIZE, 4))
    b = np.roll(x, -1, axis=0)
    out = np.stack([x[:, 0] * b[:, 3] - x[:, 1], x[:, 2] + b[:, 0] * b[:, 1]], 1)
    return _case(written.turned, x.reshape(-1), np.zeros(2 * SIZE, np.float32), out=out.reshape(-1))


def _tallied() -> Case:
    x = numbers(SIZE, u32, 7, spread=4)
    bins = np.append(np.bincount(x >> 28, minlength=16), x.max()).astype(np.uint32)
    return _case(written.tallied, x, np.zeros(17, np.uint32), bins=bins)


for _name, _make in {
    "tuples": _chosen, "type-variable-f32": partial(_dotted, f32), "type-variable-i32": partial(_dotted, i32),
    "groups": _gathered, "drawn": _drawn, "cells": _scattered, "vectors": _turned, "shared-atomics": _tallied,
}.items():  # fmt: skip
    case(f"written/{_name}", widths=(1, 16))(_make)
