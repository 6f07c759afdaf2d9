"""Random programs of views, operations, assignments, kernels that write, patterns and compiled programs, beside numpy.

Each handle has its own array of numpy: no two tensors share elements, whatever made them. The oracle is numpy's.
"""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import loom
from loom import tensor


@loom.kernel
def shift(x: loom.InOut[loom.f32], by: loom.f32):
    i = loom.global_id()
    if i < len(x):
        x[i] = x[i] + by


class _World:
    """Handles, each with what numpy has for it."""

    def __init__(self, seed: int, on: Any) -> None:
        self.rng = np.random.default_rng(seed)
        self.on = on
        first = self.rng.integers(-8, 8, (4, 6)).astype("f4")
        self.pairs: list[tuple[Any, np.ndarray]] = [(tensor.array(first, on=on), first.copy())]
        self.pairs.append((tensor.parameter(first, on=on), first.copy()))
        self.pairs.append((tensor.zeros((4, 6)) + tensor.array(0.0, on=on), np.zeros((4, 6), "f4")))
        self.programs: list[tuple[Any, np.ndarray]] = []
        self.chains: list[tuple[Any, int]] = []

    def any(self) -> int:
        return int(self.rng.integers(len(self.pairs)))

    def step(self) -> str:
        kind = str(self.rng.choice(_KINDS))
        getattr(self, kind)()
        return kind

    def view(self) -> None:
        x, a = self.pairs[self.any()]
        which = self.rng.integers(6)
        made = [
            lambda v: v.reshape(v.shape), lambda v: v.reshape(6, 4).reshape(4, 6), lambda v: v[::-1],
            lambda v: v[:, ::-1], lambda v: v[...], lambda v: v.reshape(-1).reshape(4, 6),
        ][which]  # fmt: skip
        self.add(made(x), made(a).copy())

    def no_op(self) -> None:
        x, a = self.pairs[self.any()]
        made = [lambda: x.astype("f32"), lambda: +x, lambda: tensor.squeeze(x), lambda: tensor.concat([x]),
                lambda: x.broadcast_to((4, 6)), lambda: copy.deepcopy(x), lambda: tensor.array(x),
                lambda: tensor.asarray(x, copy=True), lambda: x.flatten().reshape(4, 6), x.copy]  # fmt: skip
        self.add(made[self.rng.integers(len(made))](), a.copy())

    def operation(self) -> None:
        (x, a), (y, b) = self.pairs[self.any()], self.pairs[self.any()]
        self.add(
            *[(x + y, a + b), (x - y, a - b), (x.max() + y * 0.5, a.max() + b * np.float32(0.5))][self.rng.integers(3)]
        )

    def pattern(self) -> None:
        x, a = self.pairs[self.any()]
        if self.rng.integers(2):
            self.add(loom.gpu_map(loom.gpu_neg(x), lambda v: v + 1.0), -a + np.float32(1))
        else:
            self.add(loom.gpu_sort(x, axis=1), np.sort(a, axis=1))

    def assign(self) -> None:
        n, m = self.any(), self.any()
        (x, a), (y, b) = self.pairs[n], self.pairs[m]
        which = self.rng.integers(6)
        number = float(self.rng.integers(-8, 8))
        if which == 0:
            x[1] = y[2]
            a[1] = b[2].copy()
        elif which == 1:
            x[:, ::2] = number
            a[:, ::2] = number
        elif which == 2:
            x[[0, 3, 0], [1, 1, 1]] = [number, 1.0, 2.0]
            a[[0, 3, 0], [1, 1, 1]] = [number, 1.0, 2.0]
        elif which == 3:
            x[x > number] = 1.0
            a[a > number] = 1.0
        elif which == 4:
            x[...] = y
            a[...] = b.copy()
        else:
            x[::-1] = x
            a[::-1] = a.copy()

    def in_place(self) -> None:
        n, m = self.any(), self.any()
        (x, a), (y, b) = self.pairs[n], self.pairs[m]
        which = self.rng.integers(3)
        b = b.copy()
        if which == 0:
            x += y
            a += b
        elif which == 1:
            x *= 0.5
            a *= np.float32(0.5)
        else:
            x.fill(2.0)
            a.fill(2.0)

    def own(self) -> tuple[Any, np.ndarray]:
        """A pair whose tensor is no view: what a kernel writes into a view is put back into what it is a view of."""
        n = self.any()
        x, a = self.pairs[n]
        if x.op.name == "reshape" or x.lend_part() is not None:
            x[...] = x.copy()
            x.evaluate()
        return x, a

    def kernel(self) -> None:
        x, a = self.own()
        chain = loom.Chain(self.on)
        chain.dispatch(shift, [x], [1.0])
        program = chain.build()
        program.run()
        a += np.float32(1)
        self.chains.append((program, next(n for n, pair in enumerate(self.pairs) if pair[0] is x)))

    def again(self) -> None:
        if self.chains:
            program, n = self.chains[int(self.rng.integers(len(self.chains)))]
            program.run()
            a = self.pairs[n][1]
            a += np.float32(1)

    def call(self) -> None:
        x, a = self.own()
        shift(x, 2.0)
        a += np.float32(2)

    def compiled(self) -> None:
        n = self.any()
        x, a = self.pairs[n]
        if x.op.is_written or any(i.op.is_written for i in _behind(x)):
            return  # programs are functions of parameters
        self.programs.append((tensor.compile([x * 1.0], on=self.on), a.copy()))

    def evaluate(self) -> None:
        self.pairs[self.any()][0].evaluate()

    def forget(self) -> None:
        n = self.any()
        if len(self.pairs) > 6 and all(at != n for _, at in self.chains) and n == len(self.pairs) - 1:
            del self.pairs[n]

    def pickled(self) -> None:
        x, a = self.pairs[self.any()]
        self.add(pickle.loads(pickle.dumps(x)), a.copy())

    def add(self, x: Any, a: np.ndarray) -> None:
        assert all(x is not other for other, _ in self.pairs)
        self.pairs.append((x, np.ascontiguousarray(a)))

    def check(self, history: list[str]) -> None:
        for n, (x, a) in enumerate(self.pairs):
            assert np.array_equal(x.numpy(), a, equal_nan=True), (n, x.recipe(), history)
        for program, wanted in self.programs:
            program.run()
            assert np.array_equal(program.read()[0], wanted, equal_nan=True), history


def _behind(x: Any) -> list[Any]:
    from loom.tensor.record.graph import ancestors

    return ancestors([x])


_KINDS = ["view", "no_op", "operation", "pattern", "assign", "assign", "in_place", "kernel", "again", "call",
          "compiled", "evaluate", "forget", "pickled"]  # fmt: skip


def _run(seed: int, on: Any, steps: int = 25) -> None:
    world, history = _World(seed, on), list[str]()
    for _ in range(steps):
        history.append(world.step())
    world.check(history)


@pytest.mark.parametrize("seed", range(6))
def test_no_two_tensors_share_what_is_assigned(seed: int) -> None:
    _run(seed, "cpu")


def test_on_every_device(on: Any) -> None:
    _run(100, on, 14)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1150))
def test_many_programs(seed: int) -> None:
    _run(seed, "cpu", 40)
