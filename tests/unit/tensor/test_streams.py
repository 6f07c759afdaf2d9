"""Streams over shared tensors: whatever reads or writes elements does so in the order of the calls; against numpy.

All numbers are small integers, so that f32 holds every sum exactly and order of addition cannot be seen.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import loom
from loom import tensor

_N = 96
_LIMIT = 1 << 20


class _World:
    """Eight tensors, each on a stream of its own, beside what numpy says of them."""

    def __init__(self, on: str, seed: int, n: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.n = n
        first = [self.rng.integers(-1, 2, (n, n)).astype(np.float32) for _ in range(8)]
        self.held = [tensor.create((n, n), on=on, data=x) for x in first]
        for t in self.held:
            t.set_stream(tensor.Stream(on))
        self.wanted = [x.copy() for x in first]
        self.sums = tensor.compile([self.held[0] + self.held[1], self.held[2] - self.held[3]], on=on)
        self.handles: list[Any] = []

    def pick(self, count: int) -> list[int]:
        return self.rng.choice(8, count, replace=False).tolist()

    def put(self, at: int, value: np.ndarray[Any, Any]) -> None:
        """Keep numbers small, so that all stay exact."""
        self.wanted[at] = value
        if np.abs(value).max() * self.n > _LIMIT:
            self.held[at].fill(1.0)
            self.wanted[at] = np.ones_like(value)

    def step(self) -> None:
        a, b, c = self.pick(3)
        t, w = self.held, self.wanted
        what = int(self.rng.integers(9))
        number = int(self.rng.integers(-2, 3))
        if what == 0 and max(np.abs(w[a]).max(), np.abs(w[b]).max()) ** 2 * self.n < _LIMIT:
            self.handles.append(t[c].enqueue_gemm(t[a], t[b], transpose_b=True))
            self.put(c, w[a] @ w[b].T)
        elif what == 1:
            t[a].fill(number)
            w[a] = np.full_like(w[a], number)
        elif what == 2:
            new = self.rng.integers(-2, 3, (self.n, self.n)).astype(np.float32)
            t[a].write(new)
            w[a] = new
        elif what == 3:
            t[a].copy_from(t[b])
            w[a] = w[b].copy()
        elif what == 4:
            self.handles.append(t[c].enqueue(lambda x, y: x.T + y * number, t[a], t[b]))
            self.put(c, w[a].T + w[b] * number)
        elif what == 5:
            self.handles.append(t[c].enqueue(lambda x: x.T - number, t[c]))
            self.put(c, w[c].T - number)
        elif what == 6:
            assert (t[a] + t[b]).numpy().tobytes() == (w[a] + w[b]).tobytes()
        elif what == 7:
            self.sums.run()
            one, other = self.sums.read()
            assert one.tobytes() == (w[0] + w[1]).tobytes()
            assert other.tobytes() == (w[2] - w[3]).tobytes()
        else:
            assert loom.gpu_max(t[a] * 2) == (w[a] * 2).max()

    def check(self) -> None:
        for t, w in zip(self.held, self.wanted, strict=True):
            assert (t.numpy() == w).all()
        for handle in self.handles:
            assert handle.done or handle.wait() is None


@pytest.mark.parametrize("seed", range(3))
def test_eight_streams_over_shared_tensors(seed: int, on: str) -> None:
    world = _World(on, seed, 20 if on == "interp" else _N)
    for _ in range(20 if on == "interp" else 60):
        world.step()
    world.check()


@pytest.mark.slow
@pytest.mark.parametrize("block", range(10))
def test_a_thousand_programs_of_eight_streams(block: int) -> None:
    for seed in range(100):
        world = _World("cpu", 1000 + 100 * block + seed, 128)
        for _ in range(24):
            world.step()
        world.check()


def _under_way(on: str) -> tuple[Any, Any, float]:
    """Return ``a`` of ones, and ``c`` into which the product of ``a`` with itself is on its way; what it will be."""
    n = 700
    a, c = tensor.create((n, n), on=on, data=np.ones((n, n))), tensor.create((n, n), on=on)
    c.set_stream(tensor.Stream(on))
    c.enqueue_gemm(a, a)
    return a, c, float(n)


_WRITES: dict[str, Callable[[Any], Any]] = {
    "fill": lambda a: a.fill(0.0),
    "write": lambda a: a.write(np.zeros(a.shape)),
    "assign": lambda a: a.assign(np.zeros(a.shape, "f4")),
    "copy_from": lambda a: a.copy_from(tensor.zeros(a.shape).evaluate()),
    "program": lambda a: tensor.compile([], [(a, a * 0)]).run(),
    "launch": lambda a: tensor.compile([], [(a, a * 0)]).launch(),
}
_READS: dict[str, Callable[[Any], Any]] = {
    "numpy": lambda c: c.numpy(),
    "plus": lambda c: (c + 0).numpy(),
    "max": lambda c: [c.max().item(), c.min().item()],
    "detach": lambda c: tensor.detach(c).numpy(),
    "dlpack": lambda c: np.from_dlpack(c, device="cpu"),
    "array": np.asarray,
    "copy": lambda c: tensor.array(c).numpy(),
    "pattern": lambda c: [loom.gpu_max(c), loom.gpu_min(c)],
}


@pytest.mark.parametrize("how", _WRITES)
def test_a_writer_waits_for_readers_of_other_streams(how: str) -> None:
    for _ in range(3):
        a, c, wanted = _under_way("cpu")
        _WRITES[how](a)
        assert np.unique(c.numpy()).tolist() == [wanted]
        assert np.unique(a.numpy()).tolist() == [0.0]


@pytest.mark.parametrize("how", _READS)
def test_a_reader_waits_for_the_writer_of_another_stream(how: str) -> None:
    for _ in range(3):
        _, c, wanted = _under_way("cpu")
        assert np.unique(_READS[how](c)).tolist() == [wanted]


def test_a_program_and_an_operation_on_what_is_recorded_wait() -> None:
    for _ in range(3):
        a, c, n = _under_way("cpu")
        program = tensor.compile([c * 2])
        program.run()
        assert np.unique(program.read()[0]).tolist() == [2 * n]
        d = tensor.create(a.shape, on="cpu")
        c.enqueue_gemm(c * 2, a)
        d.gemm(c + 0, a)
        assert np.unique(d.numpy()).tolist() == [2 * n * n * n]


def test_threads_over_one_tensor_see_whole_values() -> None:
    """Eight threads fill, add and read one tensor: all its elements are always one number."""
    shared = tensor.create((300, 300), on="cpu")
    mine = [tensor.create((300, 300), on="cpu") for _ in range(8)]
    for t in mine:
        t.set_stream(tensor.Stream("cpu"))
    wrong: list[Any] = []

    def work(number: int) -> None:
        rng = np.random.default_rng(number)
        try:
            for _ in range(40):
                what = rng.integers(4)
                if what == 0:
                    shared.fill(float(rng.integers(100)))
                elif what == 1:
                    mine[number].enqueue(lambda x: x + 1, shared)
                elif what == 2:
                    shared.write(np.full((300, 300), rng.integers(100), "f4"))
                seen = (shared if what == 3 else mine[number]).numpy()
                if (seen != seen[0, 0]).any():
                    wrong.append(np.unique(seen))
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(120)
    assert not wrong
