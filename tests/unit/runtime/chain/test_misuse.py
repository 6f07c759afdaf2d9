"""Every argument of a chain that is refused, and the text about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, DTypeError, LoomError, ShapeError, StateError
from unit.runtime.chain.chain_kernels import affine, copy, count, typed

WORDS = np.zeros(4, np.uint32)
MISUSES: dict[str, tuple[Callable[[loom.Chain], Any], type[LoomError], str]] = {
    "too few parameters": (
        lambda c: c.dispatch(affine, [WORDS], [1]),
        ArgumentError,
        "[c.dispatch of 'affine'] kernel 'affine' takes 2 parameters, and 'b' is not given: expected a: u32, b: u32, "
        "got 1. Give one value for each, in order or by name.",
    ),
    "parameters no list": (
        lambda c: c.dispatch(affine, [WORDS], 5),
        DTypeError,
        "[c.dispatch of 'affine'] params are neither a sequence nor a mapping: expected values for a: u32, "
        "b: u32, got 5. Write params=[value], or params={name: value}.",
    ),
    "too large": (
        lambda c: c.dispatch(affine, [WORDS], [2**32, 1]),
        ArgumentError,
        "parameter 'a'] does not fit u32: expected 0 to 4294967295, got 4294967296. Declare a wider type.",
    ),
    "beyond 64 bits": (
        lambda c: c.dispatch(affine, [WORDS], [2**70, 1]),
        ArgumentError,
        f"does not fit u32: expected 0 to 4294967295, got {2**70}",
    ),
    "negative": (
        lambda c: c.dispatch(affine, [WORDS], [1, -1]),
        ArgumentError,
        "parameter 'b'] does not fit u32: expected 0 to 4294967295, got -1",
    ),
    "below i8": (
        lambda c: c.dispatch(typed, [np.zeros(3)], [0, -129, True]),
        ArgumentError,
        "does not fit i8: expected -128 to 127, got -129",
    ),
    "float for int": (
        lambda c: c.dispatch(affine, [WORDS], [1.0, 1]),
        DTypeError,
        "does not fit u32: expected a whole number (int), got 1.0",
    ),
    "text": (
        lambda c: c.dispatch(affine, [WORDS], ["1", 1]),
        DTypeError,
        "does not fit u32: expected a whole number (int), got '1'",
    ),
    "none": (
        lambda c: c.dispatch(affine, [WORDS], [None, 1]),
        DTypeError,
        "does not fit u32: expected a whole number (int), got None",
    ),
    "bool for int": (
        lambda c: c.dispatch(affine, [WORDS], [True, 1]),
        DTypeError,
        "expected a whole number (int), got True",
    ),
    "int for bool": (
        lambda c: c.dispatch(typed, [np.zeros(3)], [0, 0, 1]),
        DTypeError,
        "does not fit bool: expected True or False, got 1",
    ),
    "float too large": (
        lambda c: c.dispatch(typed, [np.zeros(3)], [1e39, 0, True]),
        ArgumentError,
        "parameter 'a'] does not fit f32: expected at most 3.4028234663852886e+38 in size, got 1e+39. Declare "
        "a wider type.",
    ),
    "int too large for float": (
        lambda c: c.dispatch(typed, [np.zeros(3)], [10**400, 0, True]),
        ArgumentError,
        "parameter 'a'] does not fit f32",
    ),
    "array outside a repeat": (
        lambda c: c.dispatch(affine, [WORDS], [[1, 2], 1]),
        ShapeError,
        "an array of values must have one per repeat: expected (1,), got (2,)",
    ),
    "too few buffers": (
        lambda c: c.dispatch(copy, [WORDS]),
        ArgumentError,
        "[c.dispatch of 'copy'] the kernel has 2 buffers: expected x: u32, out: u32, got 1",
    ),
    "wrong dtype": (
        lambda c: c.dispatch(count, [np.zeros(4, np.float32)]),
        DTypeError,
        "[c.dispatch of 'count', buffer 'x'] the array has another type: expected uint32, got float32. Convert "
        "with array.astype('uint32').",
    ),
    "a list": (
        lambda c: c.dispatch(count, [[1, 2]]),
        DTypeError,
        "buffer 'x'] not a buffer: expected a numpy array, loom.array, tensor, DLPack array or storage of the device, "
        "got list. Pass numpy.array(..., 'uint32').",
    ),
    "gaps": (
        lambda c: c.dispatch(count, [WORDS[::2]]),
        ShapeError,
        "the array is not contiguous: expected C order without gaps, got strides (8,)",
    ),
    "shared memory": (
        lambda c: c.dispatch(copy, [WORDS, WORDS]),
        ArgumentError,
        "buffers 'x' and 'out' share memory and one is written: expected separate memory.",
    ),
    "groups negative": (
        lambda c: c.dispatch(count, [WORDS], [], -1),
        ArgumentError,
        "unusable number of workgroups: expected at least 0, at most 2^32 lanes along a dimension and "
        "4294967295 groups, got (-1,)",
    ),
    "groups huge": (
        lambda c: c.dispatch(count, [WORDS], [], 2**70),
        ArgumentError,
        f"4294967295 groups, got ({2**70},). Let each lane do more",
    ),
    "too many lanes": (
        lambda c: c.dispatch(affine, [WORDS], [1, 1], 2**30 + 1),
        ArgumentError,
        f"got ({2**30 + 1},)",
    ),
    "groups of four": (
        lambda c: c.dispatch(count, [WORDS], [], (1, 1, 1, 1)),
        ShapeError,
        "groups have a wrong shape: expected an int, up to three, or one row per repeat, got (4,)",
    ),
    "groups a float": (
        lambda c: c.dispatch(count, [WORDS], [], 1.5),
        DTypeError,
        "groups must be whole numbers: expected an int or up to three, got 1.5. Use integer division",
    ),
    "groups ragged": (
        lambda c: c.dispatch(count, [WORDS], [], [[1], [1, 2]]),
        DTypeError,
        "groups must be whole numbers",
    ),
    "not a kernel": (
        lambda c: c.dispatch(len, [WORDS]),
        DTypeError,
        "[c.dispatch] not a kernel: expected a function decorated with @loom.kernel, or a built kernel, got "
        "builtin_function_or_method",
    ),
    "offset outside": (
        lambda c: c.dispatch_indirect(count, [WORDS], [], np.zeros(4, np.uint32), 8),
        ArgumentError,
        "[c.dispatch_indirect] the group counts lie outside the buffer: expected a multiple of 4 up to 4, got "
        "8. Leave room for three 32-bit words.",
    ),
    "offset negative": (
        lambda c: c.dispatch_indirect(count, [WORDS], [], np.zeros(4, np.uint32), -4),
        ArgumentError,
        "expected a multiple of 4 up to 4, got -4",
    ),
    "offset odd": (
        lambda c: c.dispatch_indirect(count, [WORDS], [], np.zeros(4, np.uint32), 2),
        ArgumentError,
        "expected a multiple of 4 up to 4, got 2",
    ),
    "offset a float": (
        lambda c: c.dispatch_indirect(count, [WORDS], [], np.zeros(4, np.uint32), 0.0),
        ArgumentError,
        "got 0.0",
    ),
    "counts too short": (
        lambda c: c.dispatch_indirect(count, [WORDS], [], np.zeros(2, np.uint32)),
        ArgumentError,
        "expected a buffer of at least 12 bytes, got 8 bytes",
    ),
    "counts of floats": (
        lambda c: c.dispatch_indirect(count, [WORDS], [], np.zeros(3, np.float32)),
        DTypeError,
        "buffer 'counts'] the array has another type: expected uint32, got float32",
    ),
    "repeats negative": (
        lambda c: c.repeat(-1).__enter__(),
        ArgumentError,
        "[c.repeat] unusable number of repeats: expected a whole number of at least 0, got -1",
    ),
    "repeats a float": (
        lambda c: c.repeat(2.0).__enter__(),
        ArgumentError,
        "got 2.0",
    ),
    "too many repeats": (
        lambda c: c.repeat(2**40, params=[]).__enter__(),
        ArgumentError,
        "[c.repeat] too many repeats for one recording: expected at most 16777216, got 1099511627776. Record "
        "fewer, and launch the program several times.",
    ),
    "rows of params": (
        lambda c: c.repeat(3, params=np.zeros((2, 1))).__enter__(),
        ShapeError,
        "[c.repeat] params must have one row per repeat: expected (3, columns), got (2, 1)",
    ),
}


@pytest.mark.parametrize(("wrong", "error", "text"), MISUSES.values(), ids=MISUSES)
def test_misuse(wrong: Callable[[loom.Chain], Any], error: type[LoomError], text: str) -> None:
    chain = loom.Chain("interp", name="c")
    with pytest.raises(error) as caught:
        wrong(chain)
    assert text in str(caught.value)
    assert len(chain) == 0


def test_a_read_only_array_cannot_be_written() -> None:
    x = np.zeros(4, np.uint32)
    x.flags.writeable = False
    with pytest.raises(ArgumentError, match="the array is read-only: expected a writable array"):
        loom.Chain("interp").dispatch(count, [x])


def test_repeats_cannot_be_nested_nor_built_half() -> None:
    chain = loom.Chain("interp", name="c")
    with chain.repeat(2) as segment:
        again = chain.repeat(2)
        with pytest.raises(StateError, match="repeats cannot be nested"):
            again.__enter__()
        with pytest.raises(StateError) as caught:
            chain.build()
        assert str(caught.value) == "[c.build] a repeat is open. Build after its with block."
        with pytest.raises(StateError, match="no array of parameters was given"):
            _ = segment.params
