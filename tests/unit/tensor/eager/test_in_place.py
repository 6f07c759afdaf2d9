"""Runs over memory that nobody else uses meanwhile are not entered in the order of uses; all others are."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import Any
from weakref import ref

import numpy as np
import pytest

import loom
from loom import tensor
from loom.core.errors import AssertionFailed
from loom.runtime.chain.kept import Kept, program_cache
from loom.runtime.chain.program import Program
from loom.runtime.drivers.cpu import pool
from loom.runtime.memory.order import Use, Uses
from loom.runtime.memory.storage import Storage


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows with every run that is not entered."""
    runs: list[int] = []
    run_over = Kept.run_over

    def noted(self: Kept, memory: Sequence[Storage], numbers: Sequence[int] = ()) -> None:
        runs.append(len(memory))
        run_over(self, memory, numbers)

    monkeypatch.setattr(Kept, "run_over", noted)
    return runs


@loom.kernel(workgroup=4)
def double(x: loom.InOut[loom.f32]) -> None:
    i = loom.global_id()
    if i < len(x):
        x[i] = x[i] * 2.0


def _array(*values: float) -> Any:
    return tensor.array(np.array(values, np.float32), on="cpu")


def test_arrays_and_results_are_read_alone(alone: list[int]) -> None:
    x = _array(1.0, 2.0)
    y = x.exp().evaluate()
    assert y.data.uses is None
    assert (y + x).tolist() == (y.numpy() + x.numpy()).tolist()
    assert (x * 2 + y).sum().evaluate().data.uses is None  # more than one operation
    assert alone == [2, 3, 3]


def test_what_others_may_write_is_entered(alone: list[int]) -> None:
    parameter = tensor.parameter(np.ones(2, np.float32), on="cpu")
    assert (parameter + 1).tolist() == [2.0, 2.0]
    assert parameter.exp().sum().item() == pytest.approx(2 * np.e)
    lent = _array(1.0, 2.0)
    program = loom.Chain("cpu")
    program.dispatch(double, [lent])
    built = program.build()
    assert lent.square().tolist() == [1.0, 4.0]
    built.run()
    assert lent.square().tolist() == [4.0, 16.0]
    memory = np.array([3.0, 4.0], np.float32)
    assert tensor.from_dlpack(memory, copy=False).square().tolist() == [9.0, 16.0]
    assert not alone


def test_what_is_being_written_is_waited_for(alone: list[int]) -> None:
    class Run:
        asked = 0

        def wait(self, seconds: float) -> bool:
            self.asked += 1
            return self.asked > 3

    x, run = _array(1.0, 2.0), Run()
    x.data.uses = Uses()
    x.data.uses.writer = writer = Use(object())
    writer._run = ref(run)
    assert x.square().tolist() == [1.0, 4.0]
    assert not alone
    assert run.asked > 3


def test_a_long_run_goes_on_without_its_caller(monkeypatch: pytest.MonkeyPatch, alone: list[int]) -> None:
    x = np.random.default_rng(1).standard_normal(200_000).astype(np.float32)
    held = tensor.array(x, on="cpu")
    tensor.sort(held).evaluate()
    monkeypatch.setattr(pool, "_INLINE_NANOSECONDS", 1)
    for _ in range(3):
        assert (tensor.sort(held).numpy() == np.sort(x)).all()
        assert (tensor.cumsum(tensor.sort(held), 0)[-1:] * 0 == 0).tolist() == [True]
    assert alone


def test_profiles_and_debuggers_see_every_run() -> None:
    x = _array(1.0, 2.0)
    for _ in range(2):
        with loom.profile() as profile:
            assert x.square().tolist() == [1.0, 4.0]
        assert len(profile.rows) == 1
        assert x.square().tolist() == [1.0, 4.0]
    with loom.debug():
        assert x.square().tolist() == [1.0, 4.0]


def test_nothing_of_a_run_is_held() -> None:
    program_cache().clear()
    x = tensor.array(np.ones(100_000, np.float32), on="cpu")
    for _ in range(3):
        y = x.sum().evaluate()
        z = tensor.linalg.inv(tensor.array(np.eye(3, dtype=np.float32), on="cpu"))
    gone = ref(x.data)
    assert y.data.owner.nbytes < 200
    assert z.data.owner.nbytes < 200
    y, z = y.detach(), None
    del x, y, z
    gc.collect()
    assert gone() is None


@loom.kernel(workgroup=4)
def root(x: loom.In[loom.f32], y: loom.Out[loom.f32]) -> None:
    i = loom.global_id()
    if i < len(y):
        assert x[i] >= 0.0, "below 0"
        y[i] = loom.sqrt(x[i])


def test_what_tells_something_is_asked_after_each_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOM_NATIVE", "0")
    x, y = np.ones(8, np.float32), np.zeros(8, np.float32)
    for _ in range(4):
        root(x, y)
    x[5] = -1
    for _ in range(2):
        with pytest.raises(AssertionFailed, match="lane 5"):
            root(x, y)
    x[5] = 4
    root(x, y)
    assert y[5] == 2


def test_a_debugger_sees_all_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    x = _array(1.0, 2.0)
    runs: list[Any] = []
    run_over = Program.run_over
    monkeypatch.setattr(Program, "run_over", lambda self, memory: runs.append(0) or run_over(self, memory))
    assert (x.exp() + 1).numpy().shape == (2,)
    assert len(runs) == 1
    with loom.debug():
        assert (x.exp() + 1).numpy().shape == (2,)
        double(np.ones(4, np.float32))
    assert len(runs) == 1
