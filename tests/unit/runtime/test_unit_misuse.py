"""Everything a unit refuses to boot with, take, or give, and the text about it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, DeviceError, DTypeError, LoomError, ShapeError

Case = tuple[Callable[[loom.Unit], Any], type[LoomError], str]


@pytest.fixture
def unit(on: str) -> Iterator[loom.Unit]:
    with loom.boot(8, 4, bindings={"x": (loom.f32, 4), "b": (loom.u8, 4)}, device=on, name="u") as booted:
        booted.write([1, 2, 3, 4])
        yield booted


def boot(**given: Any) -> Callable[[loom.Unit], Any]:
    return lambda u: loom.boot(**{"registers": 1, "device": u.device, "name": "v", **given})


WORDS_WANTED = "a 32-bit dtype (uint32, int32, float32)"
BOOTS: dict[str, Case] = {
    "negative": (
        boot(registers=-1),
        ArgumentError,
        "[v, registers] unusable size: expected a number of 32-bit words, at least 0, got -1. Pass an int.",
    ),
    "float": (boot(registers=2.0), ArgumentError, "[v, registers] unusable size"),
    "bool": (boot(globals=True), ArgumentError, "[v, globals] unusable size"),
    "text": (boot(globals="4"), ArgumentError, "[v, globals] unusable size"),
    "name taken": (
        boot(bindings={"registers": (loom.u32, 1)}),
        ArgumentError,
        "[v, binding 'registers'] the name is taken: expected a new name, got registers. Choose another.",
    ),
    "name reserved": (boot(bindings={"heap": (loom.u32, 1)}), ArgumentError, "[v, binding 'heap'] the name is taken"),
    "name twice": (boot(bindings=[("a", loom.u32, 1)] * 2), ArgumentError, "[v, binding 'a'] the name is taken"),
    "name no text": (boot(bindings={1: (loom.u32, 1)}), ArgumentError, "[v, binding 1] not a name: expected a str"),
    "size": (
        boot(bindings={"a": (loom.u32, -2)}),
        ArgumentError,
        "[v, binding 'a'] unusable size: expected a number of elements, at least 0, got -2. Pass an int.",
    ),
    "dtype": (boot(bindings={"a": ("f23", 2)}), DTypeError, "[v, binding 'a'] not a dtype: expected a Loom or numpy"),
    "pair": (
        boot(bindings=[("a", 2)]),
        ArgumentError,
        "[v, bindings] not a binding: expected (name, dtype, size), got ('a', 2). Pass a mapping or triples.",
    ),
    "no bindings": (boot(bindings=7), ArgumentError, "[v, bindings] not a binding"),
    "array of objects": (boot(bindings={"a": [None]}), DTypeError, "[v, binding 'a'] not numbers"),
    "heap of text": (boot(heap=["a"]), DTypeError, "[v, binding 'heap'] not numbers"),
    "heap ragged": (boot(heap=[[1], [1, 2]]), DTypeError, "[v, binding 'heap'] the rows differ in length"),
    "device": (boot(device="gpus"), DeviceError, "[loom.device] no device is called 'gpus'"),
}

CALLS: dict[str, Case] = {
    "wide words": (
        lambda u: u.write(np.zeros(2)),
        DTypeError,
        f"[u.write to 'globals'] data of the wrong type: expected {WORDS_WANTED}, got float64. "
        "Convert with array.astype(...), or array.view(numpy.uint32) to copy raw words.",
    ),
    "wrong type": (
        lambda u: u.write(np.zeros(2, np.int32), binding="x"),
        DTypeError,
        "[u.write to 'x'] data of the wrong type: expected f32, got int32.",
    ),
    "masked": (
        lambda u: u.write(np.ma.array([1, 2], mask=[0, 1], dtype=np.int32)),
        DTypeError,
        "[u.write to 'globals'] the array has a mask: expected a plain array, got MaskedArray. Use its compressed() or "
        "filled().",
    ),
    "too long": (
        lambda u: u.write([1, 2, 3], 2),
        ShapeError,
        "[u.write] range outside 'globals': expected within its 4 elements, got 2 + 3. Check offset and count.",
    ),
    "offset negative": (lambda u: u.write([1], -1), ShapeError, "[u.write] range outside 'globals'"),
    "offset a float": (
        lambda u: u.write([1], 1.0),
        DTypeError,
        "[u.write] the offset is no whole number: expected an int, got 1.0. Write int(offset), or use loom.flow",
    ),
    "count a float": (
        lambda u: u.read(0, 1.0),
        DTypeError,
        "[u.read] the count is no whole number: expected an int, got 1.0.",
    ),
    "binding a number": (
        lambda u: u.read(0, 1, binding=0),
        DTypeError,
        "[u.read] not the name of a binding: expected a str, got 0. Use one of 'registers', 'globals'",
    ),
    "copy from no unit": (
        lambda u: u.copy_from(5),
        DTypeError,
        "[u.copy_from] not a unit: expected what loom.boot returned, got int.",
    ),
    "value too large": (
        lambda u: u.write([1, 2**32]),
        DTypeError,
        "[u.write to 'globals'] 4294967296 does not fit u32: expected whole numbers from 0 to 4294967295, got "
        "4294967296. Convert first, or use a type that holds it.",
    ),
    "beyond 64 bits": (lambda u: u.write([2**70]), DTypeError, "no integer type holds all the numbers"),
    "mixed signs": (lambda u: u.write([-1, 2**31]), DTypeError, "2147483648 does not fit i32"),
    "negative for unsigned": (lambda u: u.write([-1], binding="b"), DTypeError, "-1 does not fit u8"),
    "broken number": (lambda u: u.write([1.5], binding="b"), DTypeError, "1.5 does not fit u8"),
    "nan for an integer": (lambda u: u.write([np.nan], binding="b"), DTypeError, "nan does not fit u8"),
    "float too large": (
        lambda u: u.write([1.0, 1e39], binding="x"),
        DTypeError,
        "[u.write to 'x'] 1e+39 does not fit f32: expected at most 3.4028234663852886e+38 in size, got 1e+39.",
    ),
    "text": (
        lambda u: u.write(["a"]),
        DTypeError,
        "[u.write to 'globals'] not numbers: expected bools, ints",
    ),
    "nothing": (lambda u: u.write(None), DTypeError, "[u.write to 'globals'] not numbers"),
    "ragged": (lambda u: u.write([[1], [1, 2]]), DTypeError, "[u.write to 'globals'] the rows differ in length"),
    "no such binding": (
        lambda u: u.write([1], binding="global"),
        ArgumentError,
        "[u.write] no binding is called 'global'. Did you mean 'globals'?",
    ),
    "read outside": (
        lambda u: u.read(5, 4),
        ShapeError,
        "[u.read] range outside 'registers': expected within its 8 elements, got 5 + 4. Check offset and count.",
    ),
    "read from beyond": (lambda u: u.read(9), ShapeError, "[u.read] range outside 'registers'"),
    "read wide": (lambda u: u.read(0, 5, np.float64), ShapeError, "[u.read] range outside 'registers'"),
    "read a negative count": (lambda u: u.read(0, -1), ShapeError, "[u.read] range outside 'registers'"),
    "read as another type": (
        lambda u: u.read(dtype=np.uint32, binding="x"),
        DTypeError,
        "[u.read of 'x'] read as another type: expected f32, got u32. Leave dtype out, then use .view().",
    ),
    "read as no type": (
        lambda u: u.read(dtype="f23"),
        DTypeError,
        "[u.read of 'registers'] no dtype is called 'f23'. Did you mean 'f32'?",
    ),
    "fill outside": (lambda u: u.fill(0, 4, 5), ShapeError, "[u.fill] range outside 'registers'"),
    "fill from beyond": (lambda u: u.fill(0, 9), ShapeError, "[u.fill] range outside 'registers'"),
    "fill a negative count": (
        lambda u: u.fill(0, 0, -1),
        ArgumentError,
        "[u.fill of 'registers'] unusable count: expected at least 0, got -1. Pass an int.",
    ),
    "fill part of a word": (lambda u: u.fill(0, 0, 2.5), ArgumentError, "unusable count: expected at least 0, got 2.5"),
    "fill offset": (lambda u: u.fill(0, "1"), ArgumentError, "unusable offset: expected a whole number, at least 0"),
    "fill with several": (
        lambda u: u.fill([1, 2]),
        ShapeError,
        "[u.fill of 'registers'] not one value: expected a number, got (2,). Use unit.write for several.",
    ),
    "fill too large": (lambda u: u.fill(256, binding="b"), DTypeError, "256 does not fit u8"),
    "copy of another type": (
        lambda u: u.copy_from(u, source="x", target="b"),
        DTypeError,
        "[u.copy_from] bindings of different types: expected u8, got f32. Copy between bindings of one type.",
    ),
    "copy too much": (lambda u: u.copy_from(u, count=5, target="globals"), ShapeError, "range outside 'globals'"),
    "copy from outside": (lambda u: u.copy_from(u, start=7, count=2), ShapeError, "range outside 'registers'"),
    "copy offset": (lambda u: u.copy_from(u, offset=-1), ArgumentError, "[u.copy_from] unusable start or offset"),
    "copy count": (lambda u: u.copy_from(u, count="1"), ArgumentError, "[u.copy_from] unusable count"),
}


@pytest.mark.needs("shares")
@pytest.mark.parametrize(
    ("size", "text"), [(2**58, f"[device memory] out of memory: got {2**60} bytes. Free units"),
                       (2**70, "[device memory] out of memory")],
)  # fmt: skip
def test_more_than_the_host_has(on: str, size: int, text: str) -> None:
    with pytest.raises(DeviceError) as caught:
        loom.boot(registers=size, name="v", device=on)
    assert text in str(caught.value)


@pytest.mark.parametrize(("wrong", "error", "text"), [*BOOTS.values(), *CALLS.values()], ids=[*BOOTS, *CALLS])
def test_misuse_is_told_and_changes_nothing(
    unit: loom.Unit, wrong: Callable[[loom.Unit], Any], error: type[LoomError], text: str
) -> None:
    with pytest.raises(error) as caught:
        wrong(unit)
    assert text in str(caught.value)
    assert unit.read(binding="globals").tolist() == [1, 2, 3, 4]
    assert not unit.read().any()
    assert not unit.read(binding="x").any()
