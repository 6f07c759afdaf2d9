"""Units: memory in and out, typed and checked; bindings by name; life and death."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, DTypeError, StateError


@loom.kernel(workgroup=4)
def add(x: loom.InOut[loom.u32], k: loom.u32) -> None:
    i = loom.global_id()
    if i < len(x):
        x[i] = x[i] + k


@loom.kernel(workgroup=4)
def take_heap(heap: loom.In[loom.u32], out: loom.Out[loom.u32]) -> None:
    i = loom.global_id()
    if i < len(out):
        out[i] = heap[i]


@loom.kernel(workgroup=4)
def into_heap(heap: loom.Out[loom.u32]) -> None:
    heap[loom.global_id()] = 1


@loom.kernel(workgroup=4)
def three(a: loom.Out[loom.u32], b: loom.In[loom.u32], c: loom.In[loom.f32]) -> None:
    a[0] = b[0] + loom.u32(c[0])


@pytest.fixture
def unit(on: str) -> Iterator[loom.Unit]:
    with loom.boot(8, 4, device=on, name="u") as booted:
        yield booted


def test_memory_is_zero_at_first(unit: loom.Unit) -> None:
    assert unit.read().tolist() == [0] * 8
    assert unit.read(binding="globals").tolist() == [0] * 4
    assert unit.read().dtype == np.uint32


def test_write_and_read(unit: loom.Unit) -> None:
    unit.write([1, 2], 1)
    unit.write(np.array([1.5, -2.0], np.float32), 6, binding="registers")
    unit.write([-1], 0, binding="registers")
    assert unit.read(0, 4, binding="globals").tolist() == [0, 1, 2, 0]
    assert unit.read(6, 2, np.float32).tolist() == unit.read(6, dtype=loom.f32).tolist() == [1.5, -2.0]
    assert unit.read(0, 1, "int32").tolist() == [-1]
    assert unit.read(8).tolist() == unit.read(3, 0).tolist() == []


def test_a_read_is_a_copy(unit: loom.Unit) -> None:
    first = unit.read(0, 2)
    first[:] = 9
    assert unit.read(0, 2).tolist() == [0, 0]


def test_fill(unit: loom.Unit) -> None:
    unit.fill(7)
    unit.fill(-1, 2, 3)
    unit.fill(0.5, 7)
    unit.fill(3, 8)
    assert unit.read(dtype=np.int32)[:7].tolist() == [7, 7, -1, -1, -1, 7, 7]
    assert unit.read(7, dtype=np.float32).tolist() == [0.5]


def test_copy_from_another_unit_and_oneself(unit: loom.Unit, on: str) -> None:
    with loom.boot(4, device=on) as other:
        other.write([1, 2, 3, 4], binding="registers")
        unit.copy_from(other, start=1, count=2, offset=5)
        unit.copy_from(other, target="globals")
    unit.copy_from(unit, source="registers", start=5, count=2)
    assert unit.read().tolist() == [2, 3, 0, 0, 0, 2, 3, 0]
    assert unit.read(binding="globals").tolist() == [1, 2, 3, 4]


def test_typed_bindings(on: str) -> None:
    given = np.arange(3.0)
    extras = {"a": (loom.u8, 5), "b": given, "c": (np.int16, 2), "v": (loom.f32x3, 2), "h": (loom.bf16, 2)}
    with loom.boot(0, bindings=extras, device=on) as unit:
        given[0] = 9  # copied when booted
        unit.write([255, 1], 3, binding="a")
        unit.write([-5.0], 1, binding="c")
        unit.write([1, 2, 3], 1, binding="v")
        unit.write(np.array([0x3F80], np.uint16), 1, binding="h")
        assert unit.read(binding="a").tolist() == [0, 0, 0, 255, 1]
        assert unit.read(binding="b").tolist() == [0.0, 1.0, 2.0]
        assert unit.read(binding="c").tolist() == [0, -5]
        assert unit.read(1, binding="v").tolist() == [1.0, 2.0, 3.0]
        assert unit.read(binding="h").astype(np.float32).tolist() == [0, 1.0]
        unit.fill([4, 5, 6], binding="v")
        assert unit.read(binding="v").tolist() == [4.0, 5.0, 6.0] * 2


def test_bindings_as_triples(on: str) -> None:
    with loom.boot(0, bindings=[("a", loom.f64, 2), ("b", loom.u32, 0)], device=on) as unit:
        assert unit.read(binding="a").dtype == np.float64
        assert unit.read(binding="b").size == 0


def test_calls_come_in_order_with_the_runs(unit: loom.Unit) -> None:
    unit.dispatch(add, [1], 2, bind={"x": "registers"})
    program = unit.build()
    unit.write([10] * 8, binding="registers")
    for _ in range(3):
        program.launch()
    assert unit.read(0, 2).tolist() == [13, 13]
    program.launch()
    unit.fill(100)
    program.launch()
    with loom.boot(8, device=unit.device) as other:
        other.copy_from(unit)
        assert other.read(7).tolist() == [101]


def test_buffers_are_found_by_name_or_by_bind_or_in_order(on: str) -> None:
    with loom.boot(1, 1, bindings={"c": (loom.f32, 1)}, device=on) as unit:
        unit.write([5])
        unit.write([2.0], binding="c")
        unit.dispatch(three, bind={"a": "registers", "b": "globals"})
        unit.build().run()
        assert unit.read().tolist() == [7]
    with loom.boot(1, 1, np.array([3.0], np.float32), device=on) as unit:
        unit.dispatch(three)  # registers, globals, heap
        unit.build().run()
        assert unit.read().tolist() == [3]


def test_a_heap_set_late_takes_its_place_before_other_bindings(on: str) -> None:
    with loom.boot(1, 1, bindings={"z": (loom.u32, 1)}, device=on) as unit:
        unit.set_heap(np.array([4.0], np.float32))
        unit.dispatch(three)
        unit.build().run()
        assert unit.read().tolist() == [4]


def test_a_heap_is_replaced_for_later_dispatches_only(on: str) -> None:
    with loom.boot(2, 2, heap=np.array([1, 2], np.uint32), device=on) as unit:
        unit.dispatch(take_heap, bind={"out": "registers"})
        unit.set_heap(np.array([3, 4, 5], np.uint32))
        unit.dispatch(take_heap, bind={"out": "globals"})
        unit.build().run()
        assert unit.read().tolist() == [1, 2]
        assert unit.read(binding="globals").tolist() == [3, 4]


NAMES: dict[str, tuple[Callable[[loom.Unit], Any], type[Exception], str]] = {
    "heap is never another memory": (
        lambda u: u.dispatch(take_heap),
        ArgumentError,
        "[u.dispatch of 'take_heap'] buffer 'heap' has no binding: expected registers, globals, got heap. "
        "Boot with heap=array, or call set_heap.",
    ),
    "nor if only it is there": (lambda u: u.dispatch(into_heap), ArgumentError, "buffer 'heap' has no binding"),
    "one unknown": (
        lambda u: u.dispatch(three, bind={"a": "registers"}),
        ArgumentError,
        "[u.dispatch of 'three'] buffer 'b' has no binding: expected registers, globals, got b. "
        "Write bind={'b': ...}, or boot with bindings={'b': (dtype, size)}.",
    ),
    "more than there are": (lambda u: u.dispatch(three), ArgumentError, "buffer 'a' has no binding"),
    "bound to nothing": (
        lambda u: u.dispatch(add, [1], bind={"x": "registers2"}),
        ArgumentError,
        "[u.dispatch] no binding is called 'registers2'. Did you mean 'registers'?",
    ),
    "bind of no buffer": (
        lambda u: u.dispatch(add, [1], bind={"y": "registers"}),
        ArgumentError,
        "[u.dispatch of 'add'] bind names 'y', which is no buffer of the kernel: expected x, got y. Known names: x.",
    ),
    "indirect counts": (
        lambda u: u.dispatch_indirect(add, [1], "registers", 6, bind={"x": "globals"}),
        ArgumentError,
        "[u.dispatch_indirect] the group counts lie outside the buffer: expected a multiple of 4 up to 20, got 24.",
    ),
    "indirect offset": (
        lambda u: u.dispatch_indirect(add, [1], "registers", 0.5, bind={"x": "globals"}),
        ArgumentError,
        "[u.dispatch_indirect] unusable offset: expected a whole number, at least 0, got 0.5.",
    ),
}


@pytest.mark.parametrize(("wrong", "error", "text"), NAMES.values(), ids=NAMES)
def test_names_that_fit_nothing(
    unit: loom.Unit, wrong: Callable[[loom.Unit], Any], error: type[Exception], text: str
) -> None:
    with pytest.raises(error) as caught:
        wrong(unit)
    assert text in str(caught.value)


def test_a_heap_is_only_read(on: str) -> None:
    with loom.boot(4, heap=np.zeros(4, np.uint32), device=on, name="u") as unit:
        with pytest.raises(ArgumentError) as caught:
            unit.dispatch(into_heap)
        assert str(caught.value) == (
            "[u.dispatch of 'into_heap'] the kernel writes 'heap', bound to 'heap': expected a writable binding, "
            "got read-only data. Bind registers or an extra binding."
        )


def test_a_typed_binding_keeps_its_type(on: str) -> None:
    with loom.boot(4, bindings={"x": (loom.f32, 4)}, device=on, name="u") as unit:
        with pytest.raises(DTypeError) as caught:
            unit.dispatch(add, [1])
        assert str(caught.value) == (
            "[u.dispatch of 'add'] buffer 'x' does not match binding 'x': expected u32, got f32. "
            "Bind a buffer of that type."
        )


AFTER: dict[str, Callable[[loom.Unit], Any]] = {
    "write": lambda u: u.write([1]),
    "read": lambda u: u.read(0, 1),
    "fill": lambda u: u.fill(0),
    "set_heap": lambda u: u.set_heap([1]),
    "dispatch": lambda u: u.dispatch(add, [1], bind={"x": "registers"}),
    "dispatch_indirect": lambda u: u.dispatch_indirect(add, [1]),
    "build": lambda u: u.build(),
    "copy_from": lambda u: u.copy_from(u),
    "repeat": lambda u: u.repeat(2).__enter__(),
}


@pytest.mark.parametrize("verb", AFTER)
def test_use_after_shutdown(unit: loom.Unit, verb: str) -> None:
    unit.shutdown()
    with pytest.raises(StateError) as caught:
        AFTER[verb](unit)
    assert str(caught.value) == f"[u.{verb}] the unit is shut down: expected a running unit. Boot a new one."


def test_shutdown_ends_programs_and_may_be_called_again(unit: loom.Unit) -> None:
    unit.dispatch(add, [1], bind={"x": "registers"})
    program = unit.build()
    submission = program.launch()
    unit.shutdown()
    unit.shutdown()
    assert submission.poll()
    submission.wait()
    program.free()
    for verb, call in (("run", program.run), ("launch", program.launch)):
        with pytest.raises(StateError) as caught:
            call()
        assert str(caught.value) == f"[u.{verb}] its unit is shut down. Boot a new unit."
    assert repr(unit) == f"<loom unit 'u' on {unit.device.name}: shut down>"


def test_shutdown_waits_for_what_runs_while_another_thread_waits() -> None:
    @loom.kernel(workgroup=1)
    def spin(registers: loom.InOut[loom.u32], turns: loom.u32) -> None:
        for _ in range(turns):
            loom.atomic_add(registers, 0, 1)

    unit = loom.boot(1)
    unit.dispatch(spin, [20_000_000])
    submission = unit.build().launch()
    waiter = threading.Thread(target=submission.wait)
    waiter.start()
    unit.shutdown()
    assert submission.done
    waiter.join(10)
    assert not waiter.is_alive()


def test_units_have_names(on: str) -> None:
    one, two = loom.boot(0, device=on), loom.boot(0, device=on)
    assert one.name != two.name
    assert repr(one) == f"<loom unit {one.name!r} on {on}: registers, globals>"
    one.shutdown()
    two.shutdown()
