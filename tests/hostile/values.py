"""Values that no function should fall over: name -> how one is made, fresh for each call."""

from __future__ import annotations

import array as stdlib_array
import datetime
import decimal
import enum
import fractions
import pathlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

import loom


class _Odd:
    """An object of no use."""


class _Color(enum.Enum):
    RED = 1


class _Few(list):  # type: ignore[type-arg]
    """A list of another class."""


class _Index:
    def __index__(self) -> int:
        return 3


class _Float:
    def __float__(self) -> float:
        return 0.5


def _recursive() -> list[Any]:
    rows: list[Any] = [1.0]
    rows.append(rows)
    return rows


def _readonly() -> Any:
    made = np.arange(8, dtype=np.float32)
    made.flags.writeable = False
    return made


def _deep() -> Any:
    made: Any = 1.0
    for _ in range(70):
        made = [made]
    return made


NUMBERS: dict[str, Callable[[], Any]] = {
    repr(value): (lambda value=value: value)
    for value in (
        0,
        1,
        2,
        3,
        7,
        -1,
        -2,
        -7,
        100,
        255,
        256,
        65536,
        2**31 - 1,
        2**31,
        2**32 - 1,
        2**32,
        2**40,
        2**62,
        2**63 - 1,
        2**63,
        2**64,
        -(2**31),
        -(2**40),
        -(2**63),
        -(2**64),
        10**30,
        10**400,
        0.0,
        -0.0,
        0.5,
        -0.5,
        1.0,
        1.5,
        3.0,
        1e-40,
        5e-324,
        1e10,
        1e20,
        1e39,
        1e300,
        -1e300,
        True,
        False,
        1j,
        complex("nan"),
    )
} | {
    "nan": lambda: float("nan"),
    "inf": lambda: float("inf"),
    "-inf": lambda: -float("inf"),
    "Fraction(1, 3)": lambda: fractions.Fraction(1, 3),
    "Decimal('0.1')": lambda: decimal.Decimal("0.1"),
    "int8(-5)": lambda: np.int8(-5),
    "uint64(2**64-1)": lambda: np.uint64(2**64 - 1),
    "int64(3)": lambda: np.int64(3),
    "float16(1.5)": lambda: np.float16(1.5),
    "float32(nan)": lambda: np.float32("nan"),
    "float64(2)": lambda: np.float64(2),
    "bool_(True)": lambda: np.bool_(True),
    "complex64(1)": lambda: np.complex64(1),
    "longdouble(1)": lambda: np.longdouble(1),
    "0-d int": lambda: np.array(3),
    "0-d float": lambda: np.array(0.25),
    "1 of int": lambda: np.array([2]),
    "datetime64": lambda: np.datetime64("2020-01-01"),
    "index object": _Index,
    "float object": _Float,
}

OBJECTS: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "''": lambda: "",
    "'abc'": lambda: "abc",
    "'cpu'": lambda: "cpu",
    "'sum'": lambda: "sum",
    "'f32'": lambda: "f32",
    "'x' * 5000": lambda: "x" * 5000,
    "'\\0'": lambda: "\0",
    "'\\ud800'": lambda: "\ud800",
    "b''": lambda: b"",
    "b'12345678'": lambda: b"12345678",
    "bytearray": lambda: bytearray(b"1234"),
    "memoryview": lambda: memoryview(b"12345678"),
    "object()": _Odd,
    "class": lambda: _Odd,
    "enum": lambda: _Color.RED,
    "Ellipsis": lambda: ...,
    "NotImplemented": lambda: NotImplemented,
    "slice": lambda: slice(1, 3),
    "lambda": lambda: lambda *_: 1,
    "print": lambda: print,
    "module": lambda: np,
    "Path": lambda: pathlib.Path("/none/x"),
    "date": lambda: datetime.date(2020, 1, 1),
    "dtype": lambda: np.dtype(np.float32),
    "np.float64": lambda: np.float64,
    "str class": lambda: str,
    "float class": lambda: float,
    "loom.f32": lambda: loom.f32,
    "loom.bf16": lambda: loom.bf16,
    "loom.i64": lambda: loom.i64,
    "loom.f32x4": lambda: loom.f32x4,
    "loom.bool_": lambda: loom.bool_,
    "dict": lambda: {"a": 1},
    "{}": dict,
    "int dict": lambda: {1: 2},
    "OrderedDict": lambda: OrderedDict(b=[1]),
    "set": lambda: {1, 2},
    "frozenset": frozenset,
    "generator": lambda: (x for x in (1, 2, 3)),
    "range": lambda: range(5),
    "iterator": lambda: iter([1, 2]),
    "zip": lambda: zip("ab", "cd", strict=True),
    "exception": lambda: ValueError("x"),
    "device": loom.device,
    "stdlib array": lambda: stdlib_array.array("d", [1, 2]),
    "kernel-less function": lambda: _readonly,
    "loom.array": lambda: loom.array([1.0, 2.0, 3.0]),
    "tensor": lambda: loom.tensor.array([1.0, 2.0, 3.0]),
    "tensor input": lambda: loom.tensor.input("free", (3,)),
    "2-d tensor": lambda: loom.tensor.array([[1.0, 2.0], [3.0, 4.0]]),
    "unit": lambda: loom.boot(16, 16),
    "int tensor": lambda: loom.tensor.array([1, 0, 2]),
    "bool tensor": lambda: loom.tensor.array([True, False]),
}

LISTS: dict[str, Callable[[], Any]] = {
    "[]": list,
    "()": tuple,
    "[[]]": lambda: [[]],
    "[[], []]": lambda: [[], []],
    "[1, 2, 3]": lambda: [1, 2, 3],
    "(2, 3)": lambda: (2, 3),
    "[0, 0]": lambda: [0, 0],
    "[-1]": lambda: [-1],
    "(-1, -1)": lambda: (-1, -1),
    "(2**40, 2)": lambda: (2**40, 2),
    "(2**63, 2**63)": lambda: (2**63, 2**63),
    "(2**31, 2**31)": lambda: (2**31, 2**31),
    "(65536, 65536)": lambda: (65536, 65536),
    "(2.5, 1)": lambda: (2.5, 1),
    "(nan,)": lambda: (float("nan"),),
    "(True, 2)": lambda: (True, 2),
    "(None, 1)": lambda: (None, 1),
    "('a', 'b')": lambda: ("a", "b"),
    "[1, 'a']": lambda: [1, "a"],
    "[1, None]": lambda: [1, None],
    "[[1, 2], [3]]": lambda: [[1, 2], [3]],
    "[1, [2]]": lambda: [1, [2]],
    "recursive": _recursive,
    "deep": _deep,
    "[{}]": lambda: [{}],
    "[set]": lambda: [{1}],
    "[1e400, nan]": lambda: [float("inf"), float("nan")],
    "[2**70]": lambda: [2**70],
    "[2**63, -1]": lambda: [2**63, -1],
    "['']": lambda: [""],
    "[b'x']": lambda: [b"x"],
    "[object]": lambda: [_Odd()],
    "[arrays]": lambda: [np.ones(2), np.ones(2)],
    "[ragged arrays]": lambda: [np.ones(2), np.ones(3)],
    "[tensor]": lambda: [loom.tensor.array([1.0])],
    "list subclass": lambda: _Few([1, 2]),
    "[True, False]": lambda: [True, False],
    "[1j]": lambda: [1j],
    "[(0, 2)]": lambda: [(0, 2)],
    "[(1, -1), (2, 2)]": lambda: [(1, -1), (2, 2)],
    "1000 axes": lambda: (1,) * 1000,
    "70 axes": lambda: (1,) * 70,
    "[1] * 5000": lambda: [1] * 5000,
    "[loom.f32]": lambda: [loom.f32],
    "[('a', f32, 4)]": lambda: [("a", loom.f32, 4)],
    "[('a', f32, 2**60)]": lambda: [("a", loom.f32, 2**60)],
}

ARRAYS: dict[str, Callable[[], Any]] = {
    **{
        f"{kind.__name__} of 8": (lambda kind=kind: np.arange(8).astype(kind))
        for kind in (
            np.int8,
            np.uint16,
            np.int32,
            np.uint32,
            np.int64,
            np.uint64,
            np.float16,
            np.float32,
            np.float64,
            np.bool_,
            np.complex64,
            np.complex128,
        )
    },
    **{
        f"empty {shape}": (lambda shape=shape: np.zeros(shape, np.float32))
        for shape in ((0,), (0, 3), (3, 0), (2, 0, 4), ())
    },
    **{
        f"shape {shape}": (lambda shape=shape: np.arange(np.prod(shape), dtype=np.float32).reshape(shape))
        for shape in ((1,), (1, 1), (2, 3), (3, 3), (4, 4), (2, 3, 4), (1, 2, 3, 4), (2, 1, 2, 1, 2, 1, 2), (5, 1))
    },
    "nan and inf": lambda: np.array([np.nan, np.inf, -np.inf, -0.0], np.float32),
    "all nan": lambda: np.full(5, np.nan),
    "singular": lambda: np.zeros((3, 3), np.float32),
    "nan matrix": lambda: np.full((3, 3), np.nan, np.float32),
    "huge": lambda: np.array([1e300, -1e300]),
    "denormal": lambda: np.array([1e-45, 1e-40], np.float32),
    "byte-swapped": lambda: np.arange(8, dtype=">f4"),
    "swapped ints": lambda: np.arange(8, dtype=">i8"),
    "strided": lambda: np.arange(16, dtype=np.float32)[::2],
    "reversed": lambda: np.arange(8, dtype=np.float32)[::-1],
    "fortran": lambda: np.asfortranarray(np.ones((3, 4), np.float32)),
    "broadcast": lambda: np.broadcast_to(np.float32(1), (4, 4)),
    "huge broadcast": lambda: np.broadcast_to(np.float32(1), (2**40,)),
    "4G broadcast": lambda: np.broadcast_to(np.int8(1), (2**16, 2**16)),
    "readonly": _readonly,
    "masked": lambda: np.ma.masked_array([1.0, 2.0], mask=[True, False]),
    "matrix": lambda: np.asmatrix("1 2; 3 4"),
    "strings": lambda: np.array(["a", "bc"]),
    "bytes array": lambda: np.array([b"a"]),
    "object array": lambda: np.array([1, "a", None], object),
    "int objects": lambda: np.array([1, 2**80], object),
    "structured": lambda: np.zeros(3, [("a", "f4"), ("b", "i4")]),
    "recarray": lambda: np.zeros(3, [("a", "f4")]).view(np.recarray),
    "datetimes": lambda: np.array(["2020"], "datetime64[D]"),
    "longdoubles": lambda: np.ones(3, np.longdouble),
    "void": lambda: np.zeros(2, "V4"),
    "misaligned": lambda: np.frombuffer(b"\0" * 33, np.uint8)[1:].view(np.float32),
    "2**64-1": lambda: np.array([2**64 - 1], np.uint64),
    "negative ints": lambda: np.array([-1, -(2**63)]),
    "far indices": lambda: np.array([0, 2**31, 2**62]),
    "zero strides": lambda: np.lib.stride_tricks.as_strided(np.ones(1), (5, 5), (0, 0)),
    "70 bools": lambda: np.arange(70) % 3 == 0,
    "5000 floats": lambda: np.linspace(-5, 5, 5000, dtype=np.float32),
}


def _torch(make: Callable[[Any], Any]) -> Callable[[], Any]:
    def made() -> Any:
        import torch

        return make(torch)

    return made


TORCH: dict[str, Callable[[], Any]] = {
    "torch f32": _torch(lambda t: t.arange(8.0)),
    "torch bf16": _torch(lambda t: t.ones(4, dtype=t.bfloat16)),
    "torch grad": _torch(lambda t: t.ones(3, requires_grad=True)),
    "torch 0-d": _torch(lambda t: t.tensor(2)),
    "torch strided": _torch(lambda t: t.arange(8)[::2]),
    "torch bool": _torch(lambda t: t.tensor([True, False])),
    "torch meta": _torch(lambda t: t.ones(3, device="meta")),
    "torch sparse": _torch(lambda t: t.eye(3).to_sparse()),
    "torch complex": _torch(lambda t: t.ones(2, dtype=t.complex64)),
    "torch dtype": _torch(lambda t: t.float32),
}

FAMILIES = (NUMBERS, OBJECTS, LISTS, ARRAYS)
"""Families drawn from alike; torch's are added where torch is installed."""
