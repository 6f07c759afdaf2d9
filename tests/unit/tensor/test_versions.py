"""What was recorded of a parameter keeps its elements; programs are functions of parameters; views are not written."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from loom import tensor
from loom.core.errors import StateError
from loom.tensor.record.graph import ancestors

_NEW = [10.0, 20.0, 30.0]
_WRITES: dict[str, Callable[[Any], Any]] = {
    "assign": lambda p: p.assign(np.array(_NEW)),
    "program": lambda p: tensor.compile([], [(p, p * 10)]).run(),
    "launch": lambda p: tensor.compile([], [(p, p * 10)]).launch(),
    "write": lambda p: p.write(_NEW),
    "copy_from": lambda p: p.copy_from(tensor.array(_NEW)),
    "copy of what is recorded": lambda p: p.copy_from(p * 10),
    "enqueue": lambda p: p.enqueue(lambda x: x * 10, p),
    "enqueue what is recorded": lambda p: p.enqueue(lambda: p * 10),
}


def _made(how: str, on: str) -> Any:
    first = [1.0, 2.0, 3.0]
    return (
        tensor.create((3,), data=first, on=on) if how not in ("assign", "program") else tensor.parameter(first, on=on)
    )


@pytest.mark.parametrize("how", _WRITES)
def test_what_was_recorded_before_a_write_keeps_the_old_elements(how: str, on: str) -> None:
    p = _made(how, on)
    twice, seen, view, aside = p * 2, p + 1, p.reshape(3, 1), tensor.detach(p)
    seen.evaluate()
    later = twice + seen
    _WRITES[how](p)
    assert p.tolist() == _NEW
    assert (twice.tolist(), seen.tolist(), later.tolist()) == ([2, 4, 6], [2, 3, 4], [4, 7, 10])
    assert (view.tolist(), aside.tolist()) == ([[1], [2], [3]], [1, 2, 3])
    assert (twice + p).tolist() == [12, 24, 36]  # old ones beside new ones
    more = p - 1
    _WRITES["assign"](p)
    p.assign([0, 0, 0])
    assert (more.tolist(), twice.tolist(), (p * 3).tolist()) == ([9, 19, 29], [2, 4, 6], [0, 0, 0])


@pytest.mark.parametrize("how", ["assign", "program", "write"])
def test_gradients_are_those_of_what_was_recorded(how: str, on: str) -> None:
    p = _made(how, on)
    loss = (p * p * p).sum()
    before = tensor.grad(loss, [p])[0]
    _WRITES[how](p)
    after = tensor.grad(loss, [p])[0]
    assert before.tolist() == after.tolist() == [3, 12, 27]
    assert loss.item() == 36
    assert tensor.grad((p * p).sum(), [p])[0].tolist() == [20, 40, 60]


def test_a_program_computes_from_what_parameters_are_when_it_runs(on: str) -> None:
    p = tensor.parameter([1.0, 2.0], on=on)
    squares = p * p
    known, fixed = squares.sum(), tensor.detach((tensor.array([5.0], on=on) + 1).evaluate())
    assert known.item() == 5
    program = tensor.compile([squares + fixed, known], [(p, p + 1)])
    p.assign([2.0, 3.0])
    for wanted in ([10.0, 15.0], 13.0), ([15.0, 22.0], 25.0):
        program.run()
        assert [x.tolist() for x in program.read()] == list(wanted)
    assert (squares.tolist(), known.item()) == ([1, 4], 5)


def test_nothing_is_kept_for_what_is_gone_or_only_fed() -> None:
    p = tensor.parameter(np.zeros(1000, "f4"), on="cpu")
    for _ in range(1000):
        _ = (p * 2).sum()
    assert p.users is not None
    assert len(p.users) < 200
    x = tensor.input("x", (1000,))
    loss = (p * x).sum()
    program = tensor.compile([loss], [(p, p + x)])
    program.run(x=np.ones(1000, "f4"))
    assert any(node is p for node in ancestors([loss]))
    assert not any(node.op.name == "value" for node in ancestors([loss]))
    gone = weakref.ref(p * 1)
    gc.collect()
    assert gone() is None


def test_threads_that_record_and_one_that_writes() -> None:
    """A value recorded is that of one version, whenever it is asked for."""
    p = tensor.create((64,), on="cpu")
    stop, wrong = threading.Event(), []

    def read() -> None:
        try:
            while not stop.is_set():
                a, b = p + 0, p.reshape(8, 8) * 1
                if len({*a.numpy().tolist()}) != 1 or len({*b.numpy().reshape(-1).tolist()}) != 1:
                    wrong.append((a, b))
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for t in threads:
        t.start()
    for n in range(200):
        p.fill(n)
    stop.set()
    for t in threads:
        t.join(60)
    assert not wrong
    assert p.tolist() == [199] * 64


_REFUSED: dict[str, Callable[[Any], Any]] = {
    "fill": lambda a: (a + 1).fill(5),
    "LoomTensor.fill": lambda a: a[0].fill(9),
    "fill of a view": lambda a: a.reshape(4).fill(9),
    "gemm": lambda a: a.T.gemm(a, a),
    "write": lambda a: (a * 1).write(np.zeros((2, 2))),
    "copy_from": lambda a: a.T.copy_from(a),
    "enqueue": lambda a: (a @ a).enqueue(lambda: a),
}


@pytest.mark.parametrize("what", _REFUSED)
@pytest.mark.parametrize("evaluated", [False, True])
def test_results_and_views_are_not_written(what: str, evaluated: bool) -> None:
    a = tensor.create((2, 2), data=[[1, 2], [3, 4]], on="cpu")
    kept = a + 1
    if evaluated:
        kept.evaluate()
    with pytest.raises(StateError, match=r"\[LoomTensor\.\w+\] only a tensor made by tensor.create can be written"):
        _REFUSED[what](a)
    with pytest.raises(StateError, match="Create a tensor of this shape, and fill or copy_from that"):
        kept.fill(5)  # type: ignore[attr-defined]
    assert (a.tolist(), kept.tolist()) == ([[1, 2], [3, 4]], [[2, 3], [4, 5]])
    b = tensor.create(kept.shape, on="cpu")
    b.copy_from(kept)  # as the error says
    b.fill(5)
    assert b.tolist() == [[5, 5], [5, 5]]


def test_free_gives_up_memory_and_what_was_recorded_stays() -> None:
    a = tensor.create((3,), data=[1, 2, 3], on="cpu")
    later = a + 1
    memory = weakref.ref(a.data)
    a.free()
    a.free()
    gc.collect()
    assert memory() is None
    assert later.tolist() == [2, 3, 4]
    for use in (a.numpy, (a + 1).numpy, lambda: a.fill(1), lambda: a.write([1, 2, 3])):
        with pytest.raises(StateError, match="freed"):
            use()
