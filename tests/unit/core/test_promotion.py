"""In which type operands meet: the standard's tables inside a kind, torch's rule across kinds, weak Python numbers."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from loom import tensor
from loom.core.dtype import SCALARS, lookup
from loom.core.errors import DTypeError
from loom.core.promotion import promote
from sweep import check_each

_INSIDE = """
i8 i8 i8, i8 i16 i16, i8 i32 i32, i8 i64 i64, i16 i16 i16, i16 i32 i32, i16 i64 i64, i32 i32 i32, i32 i64 i64,
u8 u8 u8, u8 u16 u16, u8 u32 u32, u8 u64 u64, u16 u16 u16, u16 u32 u32, u16 u64 u64, u32 u32 u32, u32 u64 u64,
u64 u64 u64, i64 i64 i64, i8 u8 i16, i8 u16 i32, i8 u32 i64, i16 u8 i16, i16 u16 i32, i16 u32 i64, i32 u8 i32,
i32 u16 i32, i32 u32 i64, i64 u8 i64, i64 u16 i64, i64 u32 i64, f32 f32 f32, f32 f64 f64, f64 f64 f64, bool bool bool,
f16 f16 f16, f16 f32 f32, bf16 f64 f64, f16 bf16 f32
"""  # the standard's; the last row is torch's


def test_the_tables() -> None:
    check_each(_is_promoted, _INSIDE.replace("\n", " ").strip().split(", "))


def _is_promoted(row: str) -> None:
    a, b, wanted = (lookup(name) for name in row.split())
    assert promote("add", [a, b]) == promote("add", [b, a]) == wanted
    assert promote("add", [a, b, a]) == wanted


@pytest.mark.parametrize("signed", ["i8", "i16", "i32", "i64"])
def test_u64_with_signed(signed: str) -> None:
    for pair in ((signed, "u64"), ("u64", signed)):
        with pytest.raises(DTypeError, match=r"\[sub\] no integer type holds all numbers of both: .* with astype"):
            promote("sub", [lookup(name) for name in pair])


def test_across_kinds_as_torch() -> None:
    torch = pytest.importorskip("torch")
    for a, b in itertools.product([t for t in SCALARS.values() if t.kind.value != "complex"], repeat=2):
        if a.kind is b.kind or (a.is_integer and b.is_integer) or {a.name, b.name} & {"u16", "u32", "u64"}:
            continue
        one, other = (torch.zeros(1, dtype=getattr(torch, _name(t.name))) for t in (a, b))
        assert str(torch.result_type(one, other)) == f"torch.{_name(promote('add', [a, b]).name)}"


def _name(loom: str) -> str:
    return "bfloat16" if loom == "bf16" else {"i": "int", "u": "uint", "f": "float", "b": ""}[loom[0]] + (
        loom if loom == "bool" else loom[1:])  # fmt: skip


@pytest.mark.parametrize(("dtype", "number", "wanted"), [
    ("u8", 1, "u8"), ("u8", True, "u8"), ("u8", 0.5, "f32"), ("i64", 0.5, "f32"), ("bool", 2, "i64"), ("f16", 2, "f16"),
    ("bool", 0.5, "f32"), ("f64", 0.5, "f64"), ("bf16", 0.1, "bf16"),
    ("i32", np.float64(0.5), "f32"),
])  # fmt: skip
def test_numbers_are_weak(dtype: str, number: Any, wanted: str) -> None:
    assert promote("mul", [lookup(dtype)], [number]).name == wanted
    x = tensor.ones((2,), dtype)
    assert (x * number).dtype.name == (number * x).dtype.name == wanted


def test_numbers_alone() -> None:
    assert [promote("where", [], pair).name for pair in ((1, 2), (1, 0.5), (True, False), (True, 2))] == [
        "i64", "f32", "bool", "i64"]  # fmt: skip
    for stranger in (np.ones(3), "1", None, [1]):
        with pytest.raises(DTypeError, match=r"\[add\] .* is no number"):
            promote("add", [lookup("f32")], [stranger])


@pytest.mark.parametrize(("call", "wanted"), [
    (lambda i, f: i * f, [0.0, 0.5, 1.0]), (lambda i, f: f - i, [0.5, -0.5, -1.5]), (lambda i, f: i < f, [1, 0, 0]),
    (lambda i, f: tensor.where(i > 1, i, f), [0.5, 0.5, 2.0]), (lambda i, f: i / 2, [0.0, 0.5, 1.0]),
    (lambda i, f: tensor.concat([i, f]), [0, 1, 2, 0.5, 0.5, 0.5]), (lambda i, f: tensor.stack([f, i], 1), None),
    (lambda i, f: i @ f, 1.5), (lambda i, f: i.map("exp2"), [1, 2, 4]), (lambda i, f: (i > 0) + (i > 1), [0, 1, 2]),
])  # fmt: skip
def test_where_operands_meet(call: Callable[..., Any], wanted: Any) -> None:
    i, f = tensor.array([0, 1, 2], "i16"), tensor.array([0.5] * 3, "f32")
    if wanted == [0, 1, 2]:
        with pytest.raises(DTypeError):  # bools are no numbers
            call(i, f)
        return
    found = call(i, f)
    assert found.dtype.name in ("f32", "bool")
    assert found.tolist() == (wanted if wanted is not None else [[0.5, 0.0], [0.5, 1.0], [0.5, 2.0]])
