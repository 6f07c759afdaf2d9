"""A dispatch takes data of every kind on every device, and as many workgroups as they need."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

import loom
from conformance.running import kinds
from deferred import Later, value_of
from loom import In, InOut, Out, f32, tensor, u32
from loom.core.errors import ArgumentError, DeviceError, DTypeError, LoomError, StateError
from unit.runtime.chain.chain_kernels import affine, copy

SIZE = 1000
KINDS: dict[str, Callable[[np.ndarray], Any]] = {
    "numpy": np.copy,
    "array": loom.array,
    **{f"array of {kind}": partial(loom.array, on=kind) for kind in kinds()},
    "parameter": tensor.parameter,
    "torch": lambda x: torch.from_numpy(x.copy()),
}


@loom.kernel(workgroup=64)
def saxpy(x: In[f32], y: InOut[f32], a: f32) -> None:
    i = loom.global_id()
    if i < len(y):
        y[i] = a * x[i] + y[i]


@loom.kernel(workgroup=64)
def evens(y: Out[f32]) -> None:
    i = loom.global_id()
    if i % 2 == 0 and i < len(y):
        y[i] = 0.5


@pytest.fixture
def chain(on: str) -> loom.Chain:
    return loom.Chain(on, name="c")


@pytest.mark.parametrize("kind", KINDS)
def test_data_of_every_kind_on_every_device(chain: loom.Chain, kind: str) -> None:
    try:
        x, y = KINDS[kind](np.ones(SIZE, np.float32)), KINDS[kind](np.arange(SIZE, dtype=np.float32))
    except DeviceError as error:
        pytest.skip(f"no such device: {error}")
    chain.dispatch(saxpy, [x, y], [2.0])
    program = chain.build()
    program.run()
    assert np.array_equal(np.asarray(y), np.arange(SIZE) + 2)
    first, second = program.launch(), program.launch()
    second.wait()
    first.wait()
    assert np.array_equal(np.asarray(y), np.arange(SIZE) + 6)
    assert np.array_equal(np.asarray(x), np.ones(SIZE))


def test_a_later_run_sees_what_the_host_wrote(chain: loom.Chain) -> None:
    x, y = np.ones(SIZE, np.float32), np.zeros(SIZE, np.float32)
    chain.dispatch(saxpy, [x, y], [2.0])
    program = chain.build()
    program.run()
    x[:] = 10
    y[:500] = 100
    submission = program.launch()
    while not submission.poll():
        pass
    assert y.tolist() == [120.0] * 500 + [22.0] * 500


def test_what_a_kernel_does_not_write_is_kept(chain: loom.Chain) -> None:
    y = np.full(SIZE, 7, np.float32)
    chain.dispatch(evens, [y])
    chain.build().run()
    assert y.tolist() == [0.5, 7.0] * (SIZE // 2)


def test_dispatches_share_the_memory_of_one_array(chain: loom.Chain) -> None:
    x, y = np.arange(8, dtype=np.uint32), np.zeros(8, np.uint32)
    for _ in range(3):
        chain.dispatch(affine, [x], [2, 1])
    chain.dispatch(copy, [x, y])
    with chain.repeat(2):
        chain.dispatch(affine, [y], [1, 1])
    chain.build().run()
    assert x.tolist() == [8 * n + 7 for n in range(8)]
    assert y.tolist() == [8 * n + 9 for n in reversed(range(8))]


def test_a_run_that_nobody_waited_for_is_not_lost(chain: loom.Chain) -> None:
    y = np.zeros(SIZE, np.float32)
    chain.dispatch(saxpy, [np.ones(SIZE, np.float32), y], [1.0])
    program = chain.build()
    submission = program.launch()
    while not submission.done:
        pass
    program.run()
    assert set(y.tolist()) == {2.0}
    program.launch()
    program.free()
    assert set(y.tolist()) == {3.0}


def test_maps_put_off_see_an_array_as_it_was() -> None:
    x = loom.array(np.arange(4, dtype=np.float32))
    later = loom.gpu_map(loom.gpu_map(x, "mul", 10.0), "add", 1.0)
    chain = loom.Chain()
    chain.dispatch(saxpy, [np.ones(4, np.float32), x.reshape(2, 2)], [5.0])
    chain.build().run()
    assert later.tolist() == [1.0, 11.0, 21.0, 31.0]
    assert x.tolist() == [5.0, 6.0, 7.0, 8.0]
    assert loom.gpu_map(x, "mul", 10.0).tolist() == [50.0, 60.0, 70.0, 80.0]


def test_what_is_recorded_keeps_the_elements_it_was_recorded_of() -> None:
    """Through every way to come by a tensor, and to write it: each run writes the newest, and no view but one bound."""
    made = tensor.full((4,), 1.0) * 2.0
    view, row = made.reshape(2, 2), made[1:3]
    chain = loom.Chain()
    chain.dispatch(saxpy, [np.ones(4, np.float32), made], [5.0])
    program = chain.build()
    before = made + 1.0
    program.run()
    between = made + 1.0
    program.run()
    assert before.tolist() == [3.0] * 4
    assert between.tolist() == [8.0] * 4
    assert made.tolist() == [12.0] * 4
    assert (view.tolist(), row.tolist()) == ([[2.0, 2.0]] * 2, [2.0, 2.0])
    bound = made.reshape(2, 2)
    twice = bound * 2.0
    chain.dispatch(saxpy, [np.ones(4, np.float32), bound], [1.0])
    again = chain.build()
    for n in range(3):
        again.run()
        assert bound.tolist() == [[13.0 + n] * 2] * 2
        assert made.tolist() == [13.0 + n] * 4
    assert twice.tolist() == [[24.0] * 2] * 2


def test_programs_keep_constants_that_kernels_write() -> None:
    x = loom.array(np.arange(4, dtype=np.float32))
    early = tensor.compile([x * 2.0])
    chain = loom.Chain()
    chain.dispatch(saxpy, [np.ones(4, np.float32), x], [5.0])
    late = tensor.compile([x * 2.0])
    chain.build().run()
    for program in (early, late):
        program.run()
        assert program.read()[0].tolist() == [0.0, 2.0, 4.0, 6.0]
    assert (x * 2.0).tolist() == [10.0, 12.0, 14.0, 16.0]


def test_memory_that_overlaps(chain: loom.Chain) -> None:
    x = np.zeros(SIZE, np.float32)
    text = "share memory and one is written"
    if chain.device.kind in kinds("threads"):
        text = (
            "[c.dispatch of 'saxpy', buffer 'y'] the array overlaps another of the chain: expected the same memory, or "
            "separate memory, got an array of 2000 bytes that shares some."
        )
    with pytest.raises(ArgumentError, match=re.escape(text)):
        chain.dispatch(saxpy, [x[:600], x[500:]], [1.0])


@pytest.mark.parametrize(("given", "error", "text"), [
    ([1.0], DTypeError, "not a buffer: expected a numpy array, loom.array, tensor, DLPack array or storage of the "
                        "device, got list. Pass numpy.array(..., 'float32')."),
    (None, DTypeError, "got NoneType"),
    (5, DTypeError, "got int"),
    (np.float32(1), DTypeError, "got float32"),
    (loom.array([1, 2]), DTypeError, "the tensor has another type: expected f32, got i64. Make it of that type."),
    (tensor.input("x", (4,)), StateError, "its elements are those that a program is fed"),
    (Later(lambda: torch.zeros(4, requires_grad=True)), DTypeError, "got Tensor. Pass x.detach()."),
    (Later(lambda: torch.zeros(4, 4).T), LoomError, "the array is not contiguous"),
    (np.ma.masked_array(np.zeros(4, np.float32), [0, 1, 0, 0]), DTypeError, "the array has a mask"),
])  # fmt: skip
def test_what_is_no_data(given: Any, error: type[LoomError], text: str) -> None:
    with pytest.raises(error, match=re.escape(text)) as caught:
        loom.Chain(name="c").dispatch(saxpy, [np.zeros(4, np.float32), value_of(given)], [1.0])
    assert caught.value.where == "c.dispatch of 'saxpy', buffer 'y'"


def test_buffers_that_are_no_list() -> None:
    for given in (None, 5, np.zeros(4, np.float32), "xy"):
        with pytest.raises(DTypeError, match=re.escape("[c.dispatch of 'saxpy'] the buffers are no list")):
            loom.Chain(name="c").dispatch(saxpy, given, [1.0])  # type: ignore[arg-type]


# groups


@loom.kernel(workgroup=64)
def strided(x: InOut[u32]) -> None:
    for i in range(loom.global_id(), len(x), loom.num_groups() * 64):
        x[i] = x[i] + 1


@loom.kernel(workgroup=64)
def once(x: InOut[u32]) -> None:
    if loom.local_id() == 0:
        x[0] = x[0] + 1


@loom.kernel(workgroup=64)
def by_group(x: InOut[u32]) -> None:
    x[loom.group_id() * 4] = 1


@loom.kernel(workgroup=(8, 8))
def plane(x: InOut[u32]) -> None:
    x[loom.global_id(1) * 8 + loom.global_id(0)] = 1


@loom.kernel(workgroup=64)
def by_four(v: InOut[loom.f32x4]) -> None:
    i = loom.global_id()
    if i < len(v):
        v[i] = v[i] + v[i]


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 1000, 4096])
def test_every_element_is_reached_without_groups(size: int) -> None:
    y = np.zeros(size, np.float32)
    chain = loom.Chain()
    chain.dispatch(saxpy, [np.ones(size, np.float32), y], [3.0])
    chain.build().run()
    assert y.tolist() == [3.0] * size
    words = np.zeros(size, np.uint32)
    chain.dispatch(strided, [words])
    chain.build().run()
    assert words.tolist() == [1] * size


def test_a_vector_is_one_element() -> None:
    v = np.ones(4 * 65, np.float32)
    chain = loom.Chain()
    chain.dispatch(by_four, [v])
    assert chain.recorded[0].groups.tolist() == [[2, 1, 1]]
    chain.build().run()
    assert set(v.tolist()) == {2.0}


def test_a_kernel_without_an_index_runs_once() -> None:
    x = np.zeros(1000, np.uint32)
    chain = loom.Chain()
    chain.dispatch(once, [x])
    chain.build().run()
    assert x[0] == 1


def test_units_take_the_longest_binding() -> None:
    with loom.boot(registers=1000) as unit:
        unit.dispatch(strided, bind={"x": "registers"})
        unit.build().run()
        assert unit.read().tolist() == [1] * 1000


@pytest.mark.parametrize(("kernel", "why"), [
    (by_group, "the kernel asks for its group_id"), (plane, "the kernel has more than one dimension"),
])  # fmt: skip
def test_groups_that_cannot_be_told(kernel: Any, why: str) -> None:
    chain = loom.Chain(name="c")
    with pytest.raises(ArgumentError, match=re.escape(
        f"[c.dispatch of '{kernel.name}'] the number of workgroups cannot be told from the data: expected groups=n, "
        f"for {why}, got none. Write groups=n, so many workgroups, or up to three numbers; a call k(x, y) also takes "
        "lanes=n."
    )):  # fmt: skip
        chain.dispatch(kernel, [np.zeros(64, np.uint32)])
    chain.dispatch(kernel, [np.zeros(64, np.uint32)], groups=1)
