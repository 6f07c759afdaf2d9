"""What a program would make twice is made once, unless it is not the same, or must be done twice."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import loom
from loom import tensor
from loom.tensor.fusing.repeats import leave_out_repeats
from loom.tensor.program import Drafted
from loom.tensor.record.draft import Draft, DraftBuffer

N = 8


@loom.kernel(workgroup=N, trusted=True)
def scaled(x: loom.In[loom.f32], out: loom.Out[loom.f32], by: loom.f32) -> None:
    i = loom.local_id()
    out[i] = x[i] * by


@loom.kernel(workgroup=N, trusted=True)
def added(x: loom.In[loom.f32], out: loom.InOut[loom.f32]) -> None:
    i = loom.local_id()
    out[i] = out[i] + x[i]


@loom.kernel(workgroup=N)
def told(x: loom.In[loom.f32], out: loom.Out[loom.f32]) -> None:
    i = loom.local_id()
    print("once more", i)
    out[i] = x[i]


def buffer() -> DraftBuffer:
    return DraftBuffer(4 * N, is_scratch=True)


def kept(*dispatches: tuple[Any, ...]) -> list[list[DraftBuffer]]:
    """Return the buffers of what is left of (kernel, buffers, parameters)."""
    draft = Draft(loom.device("cpu"))
    for kernel, buffers, *params in dispatches:
        draft.dispatch(kernel, buffers, params)
    leave_out_repeats(draft)
    return [list(d.buffers) for d in draft.dispatches]


def test_who_reads_the_second_reads_the_first() -> None:
    x, first, second, third, end = (buffer() for _ in range(5))
    found = kept((scaled, [x, first], 2.0), (scaled, [x, second], 2.0), (scaled, [second, third], 3.0),
                 (scaled, [first, end], 3.0), (added, [third, end]))  # fmt: skip
    # end is written twice, so it is made by itself
    assert found == [[x, first], [first, third], [first, end], [third, end]]


@pytest.mark.parametrize(("one", "other"), [(0.0, -0.0), (1.0, 2.0), (1, 1.0)])
def test_other_parameters_are_another_dispatch(one: float, other: float) -> None:
    x = buffer()
    assert len(kept((scaled, [x, buffer()], one), (scaled, [x, buffer()], other))) == 2
    assert len(kept((scaled, [x, buffer()], np.nan), (scaled, [x, buffer()], np.nan))) == 1


def test_what_is_written_in_between_is_read_again() -> None:
    x, given, left, right = (buffer() for _ in range(4))
    found = kept((scaled, [x, left], 2.0), (added, [given, x]), (scaled, [x, right], 2.0))
    assert found == [[x, left], [given, x], [x, right]]


def test_elements_of_tensors_are_made_again() -> None:
    x = buffer()
    assert len(kept((scaled, [x, DraftBuffer(4 * N)], 2.0), (scaled, [x, DraftBuffer(4 * N)], 2.0))) == 2


def test_sums_in_place_and_prints_are_done_as_often_as_asked() -> None:
    x, out = buffer(), buffer()
    assert len(kept((added, [x, out]), (added, [x, out]))) == 2
    assert len(kept((told, [x, buffer()]), (told, [x, buffer()]))) == 2


def test_equal_constants_are_the_same() -> None:
    ones, others, zeros = (buffer() for _ in range(3))
    for constant, value in ((ones, 1.0), (others, 1.0), (zeros, 0.0)):
        constant.write(0, np.full(N, value, np.float32).view(np.uint8))
    first = buffer()
    found = kept((scaled, [ones, first], 2.0), (scaled, [others, buffer()], 2.0), (scaled, [zeros, buffer()], 2.0))
    assert [f[0] for f in found] == [ones, zeros]


def test_what_was_made_long_ago_is_made_again() -> None:
    x, last = buffer(), buffer()
    between: list[tuple[Any, ...]] = []
    for _ in range(40):
        between.append((scaled, [last, made := buffer()], 2.0))
        last = made
    assert len(kept((scaled, [x, buffer()], 2.0), *between, (scaled, [x, buffer()], 2.0))) == 42


def test_an_operand_of_three_products_is_packed_once() -> None:
    rng = np.random.default_rng(1)
    x, *weights = (tensor.input(n, (160, 160), "f32") for n in "xabc")
    with loom.precision("q12"):
        outputs = [x @ w for w in weights]
    names = [d.kernel.verified.name for d in Drafted(outputs, [], loom.device("cpu")).draft.dispatches]
    assert [names.count(n) for n in ("digits_q12_f32_by_k", "digits_q12_f32")] == [1, 3]
    program = tensor.compile(outputs)
    values = {n: rng.standard_normal((160, 160)).astype(np.float32) for n in "xabc"}
    program.feed(**values)
    program.run()
    for found, name in zip(program.read(), "abc", strict=True):
        wanted = loom.gpu_matmul(values["x"], values[name], precision="q12")
        assert np.array_equal(np.asarray(found).view(np.uint32), np.asarray(wanted).view(np.uint32))
