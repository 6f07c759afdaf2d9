"""The type rules: what ``Builder`` refuses, word for word, and that ``verify`` refuses the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from loom.core.dtype import DType, bf16, bool_, f16, f32, f64, i32, i64, lookup, u8, u32, u64
from loom.core.errors import KernelTypeError, VerifyError
from loom.ir.builder import Builder
from loom.ir.constants import constant_bits, constant_value
from loom.ir.kernel import Access, Instr, Loc
from loom.ir.ops import OPS


class Parts(Builder):
    """A kernel begun, with a value, a memory and a variable of each kind."""

    def __init__(self) -> None:
        super().__init__("k", (8, 1, 1), Loc("k.py", 1))
        self.loc = Loc("k.py", 7)
        self.x = self.buffer("x", f32)
        self.r = self.buffer("r", u32, Access.READ)
        self.w = self.buffer("w", u32, Access.WRITE)
        self.small = self.buffer("small", u8)
        self.own = self.private("own", u32, 4)
        self.vectors = self.buffer("vectors", lookup("u32x2"))
        self.v = self.variable("v", i32)

    def of(self, dtype: DType) -> Instr:
        if dtype.is_vector:
            return self.emit("vector", *[self.of(dtype.scalar)] * dtype.lanes, dtype=dtype)
        return self.emit("convert", self.const(1, f32), dtype=dtype)


F32X2, F32X3 = lookup("f32x2"), lookup("f32x3")
ONE = "Convert one, for example {}(...)."

REFUSED: dict[str, tuple[Callable[[Parts], Any], str]] = {
    "too few": (
        lambda b: b.emit("add", b.of(f32)),
        "add has the wrong number of operands: expected 2, got 1. add: a + b; integers wrap.",
    ),
    "too many": (
        lambda b: b.emit("barrier", b.of(f32)),
        "barrier has the wrong number of operands: expected 0, got 1. "
        "barrier: all lanes of the workgroup arrive, then go on.",
    ),
    "mixed": (
        lambda b: b.emit("add", b.of(i32), b.of(u32)),
        f"add mixes types: expected operands of one type, got i32, u32. {ONE.format('i32')}",
    ),
    "a number and an integer": (
        lambda b: b.emit("mul", b.of(u32), b.of(f32)),
        f"mul mixes types: expected operands of one type, got u32, f32. {ONE.format('f32')}",
    ),
    "signs": (
        lambda b: b.emit("lt", b.of(u32), b.of(i32)),
        f"lt mixes types: expected operands of one type, got u32, i32. {ONE.format('i32')}",
    ),
    "32 and 64 bits": (
        lambda b: b.emit("add", b.of(u32), b.of(i64)),
        f"add mixes types: expected operands of one type, got u32, i64. {ONE.format('i64')}",
    ),
    "mixed widths": (
        lambda b: b.emit("mul", b.of(f32), b.of(F32X2)),
        f"mul mixes types: expected operands of one type, got f32, f32x2. {ONE.format('f32')}",
    ),
    "bool in arithmetic": (
        lambda b: b.emit("add", b.of(bool_), b.of(bool_)),
        "add cannot take a bool: expected an integer, f32 or f64, got bool. Convert it first.",
    ),
    "half in arithmetic": (
        lambda b: b.emit("mul", b.of(f16), b.of(f16)),
        "mul cannot take a f16: expected an integer, f32 or f64, got f16. Convert with f32(...) before mul.",
    ),
    "bf16 compared": (
        lambda b: b.emit("eq", b.of(bf16), b.of(bf16)),
        "eq cannot take a bf16: expected bool, an integer, f32 or f64, got bf16. Convert with f32(...) before eq.",
    ),
    "integers divided": (
        lambda b: b.emit("div", b.of(u32), b.of(u32)),
        "div cannot take a u32: expected f32 or f64, got u32. Convert it first.",
    ),
    "floats shifted": (
        lambda b: b.emit("shl", b.of(f32), b.of(f32)),
        "shl cannot take a f32: expected an integer, got f32. Convert it first.",
    ),
    "bits of floats": (
        lambda b: b.emit("and", b.of(f64), b.of(f64)),
        "and cannot take a f64: expected an integer or bool, got f64. Convert it first.",
    ),
    "bools ordered": (
        lambda b: b.emit("lt", b.of(bool_), b.of(bool_)),
        "lt cannot take a bool: expected an integer, f32 or f64, got bool. Convert it first.",
    ),
    "select by a number": (
        lambda b: b.emit("select", b.of(u32), b.of(f32), b.of(f32)),
        "select needs a condition: expected bool, got u32. Compare first, for example x > 0.",
    ),
    "select of two types": (
        lambda b: b.emit("select", b.of(bool_), b.of(f32), b.of(f64)),
        f"select mixes types: expected f32, got f64. {ONE.format('f64')}",
    ),
    "select by another width": (
        lambda b: b.emit("select", b.of(lookup("boolx3")), b.of(F32X2), b.of(F32X2)),
        "select has a condition of other width: expected 2, got 3. Use one bool.",
    ),
    "convert to nothing": (
        lambda b: b.emit("convert", b.of(f32)),
        "convert needs a type: expected a dtype. convert: value conversion; floats saturate.",
    ),
    "convert to more components": (
        lambda b: b.emit("convert", b.of(F32X2), dtype=F32X3),
        "conversion changes the number of components: expected 2, got 3. Convert per component.",
    ),
    "half from an integer": (
        lambda b: b.emit("convert", b.of(i32), dtype=f16),
        "f16 converts only from and to f32: expected f32, got i32. Convert through f32(...).",
    ),
    "half to a double": (
        lambda b: b.emit("convert", b.of(f16), dtype=f64),
        "f16 converts only from and to f32: expected f32, got f64. Convert through f32(...).",
    ),
    "one half to another": (
        lambda b: b.emit("convert", b.of(f16), dtype=bf16),
        "f16 converts only from and to f32: expected f32, got bf16. Convert through f32(...).",
    ),
    "bits of other width": (
        lambda b: b.emit("bitcast", b.of(f32), dtype=u64),
        "bitcast changes the width: expected 32 bits, got u64. Use a type of the same width.",
    ),
    "bits of a bool": (
        lambda b: b.emit("bitcast", b.of(bool_), dtype=u8),
        "bitcast cannot take bool: expected an integer or float, got bool. Use select or u32(...).",
    ),
    "a vector of too few": (
        lambda b: b.emit("vector", b.of(f32), dtype=F32X2),
        "f32x2 is made from its components: expected 2 of f32, got f32. Write f32x2(a, b, ...).",
    ),
    "a vector of nothing": (
        lambda b: b.emit("vector", dtype=F32X2),
        "f32x2 is made from its components: expected 2 of f32, got nothing. Write f32x2(a, b, ...).",
    ),
    "a vector of no type": (
        lambda b: b.emit("vector", b.of(f32)),
        "vector needs a type: expected a dtype. vector: a short vector from components.",
    ),
    "a component of a scalar": (
        lambda b: b.emit("extract", b.of(f32), attr=0),
        "only short vectors have components: expected a vector, got f32. Use x, y, z or w of one.",
    ),
    "a component of nothing": (
        lambda b: b.emit("extract", attr=0),
        "extract has the wrong number of operands: expected 1, got 0. extract: one component of a short vector.",
    ),
    "an index of floats": (
        lambda b: b.emit("load", b.of(f32), memory=b.x),
        "x is indexed by f32: expected an integer, got f32. Convert with u32(...).",
    ),
    "an index of vectors": (
        lambda b: b.emit("load", b.of(lookup("u32x2")), memory=b.x),
        "x is indexed by u32x2: expected an integer, got u32x2. Convert with u32(...).",
    ),
    "store of another type": (
        lambda b: b.emit("store", b.of(u32), b.of(f64), memory=b.x),
        "x holds f32: expected f32, got f64. Convert with f32(...).",
    ),
    "load without memory": (
        lambda b: b.emit("load", b.of(u32)),
        "load names the wrong memory: expected a buffer, shared or private array. load: memory[i]; outside gives 0.",
    ),
    "length without memory": (
        lambda b: b.emit("length"),
        "length names the wrong memory: expected a buffer, shared or private array. length: elements in a buffer.",
    ),
    "memory where none belongs": (
        lambda b: b.emit("neg", b.of(f32), memory=b.x),
        "neg names the wrong memory: expected none, got x. neg: -a; integers wrap.",
    ),
    "load from an output": (
        lambda b: b.emit("load", b.of(u32), memory=b.w),
        "w is only written: expected In or InOut, got Out. Declare w as InOut.",
    ),
    "store to an input": (
        lambda b: b.emit("store", b.of(u32), b.of(u32), memory=b.r),
        "r is only read: expected Out or InOut, got In. Declare r as InOut.",
    ),
    "an atomic on an input": (
        lambda b: b.emit("atomic_add", b.of(u32), b.of(u32), memory=b.r),
        "r is only read: expected Out or InOut, got In. Declare r as InOut.",
    ),
    "an atomic on an output": (
        lambda b: b.emit("atomic_add", b.of(u32), b.of(u32), memory=b.w),
        "w is only written: expected InOut, got Out. Declare w as InOut.",
    ),
    "a float atomic": (
        lambda b: b.emit("atomic_add", b.of(u32), b.of(f32), memory=b.x),
        "float atomics depend on the order of lanes and are refused (atomic_add on x): expected an integer of 32 or 64 "
        "bits, got f32. Declare it as loom.fixed(2**-20), whose sums are exact in any order; or reduce in a fixed "
        "order: loom.group_sum, or store what each lane has and call loom.gpu_sum; bitcast to u32 for exchange.",
    ),
    "a small atomic": (
        lambda b: b.emit("atomic_or", b.of(u32), b.of(u8), memory=b.small),
        "atomic_or on small: expected an integer of 32 or 64 bits, got u8. Use a u32 buffer.",
    ),
    "a vector atomic": (
        lambda b: b.emit("atomic_min", b.of(u32), b.of(lookup("u32x2")), memory=b.vectors),
        "atomic_min on vectors: expected an integer of 32 or 64 bits, got u32x2. Use a u32 buffer.",
    ),
    "a private atomic": (
        lambda b: b.emit("atomic_exchange", b.of(u32), b.of(u32), memory=b.own),
        "atomic_exchange on private array own: expected a buffer or shared memory, got private. Use load and store.",
    ),
    "another type assigned": (
        lambda b: b.emit("set", b.of(f32), attr=b.v),
        "assignment changes the variable's type: expected i32, got f32. Convert with i32(...).",
    ),
    "a vector printed": (
        lambda b: b.emit("print", b.of(F32X2), attr=("", "")),
        "print takes scalars: expected bool, integer, f32 or f64, got f32x2. Print its components.",
    ),
    "a half in an assertion": (
        lambda b: b.emit("assert", b.of(bool_), b.of(f16), attr=("", "")),
        "assert takes scalars: expected bool, integer, f32 or f64, got f16. Print its components.",
    ),
    "a number asserted": (
        lambda b: b.emit("assert", b.of(u32), attr=("",)),
        "assert needs a condition: expected bool, got u32. Compare first, for example x > 0.",
    ),
    "nothing asserted": (
        lambda b: b.emit("assert", attr=("",)),
        "assert needs a condition: expected bool, got nothing. Compare first, for example x > 0.",
    ),
    "a breakpoint with operands": (
        lambda b: b.emit("breakpoint", b.of(f32)),
        "breakpoint takes no operands: expected 0, got 1. Print them, or look at them in the debugger.",
    ),
    "an operand without value": (
        lambda b: b.emit("neg", b.emit("barrier")),
        "barrier gives no value: expected a value, got barrier. Use an operation with a result.",
    ),
    "a branch on a number": (
        lambda b: b.if_(b.of(u32)),
        "a condition must be a bool: expected bool, got u32. Compare, for example x != 0.",
    ),
    "a range of two types": (
        lambda b: b.for_(b.of(u32), b.of(i32), b.of(u32)),
        "range mixes types: expected one integer type, got u32, i32, u32. Convert the bounds to one type.",
    ),
    "a range of floats": (
        lambda b: b.for_(b.of(f32), b.of(f32), b.of(f32)),
        "range counts in integers: expected one integer type, got f32, f32, f32. Convert the bounds to one type.",
    ),
    "a constant too large": (
        lambda b: b.const(256, u8),
        "constant does not fit: 256 is outside 0 to 255: expected u8, got 256. Choose a wider type.",
    ),
    "a negative constant": (
        lambda b: b.const(-1, u64),
        "constant does not fit: -1 is outside 0 to 18446744073709551615: expected u64, got -1. u64 has no "
        "numbers below 0: write x - 1 for x + -1, or compute with i64(x).",
    ),
    "a fraction for an integer": (
        lambda b: b.const(1.5, i64),
        "constant does not fit: 1.5 is not a whole number: expected i64, got 1.5. Choose a wider type.",
    ),
    "a constant of bf16": (
        lambda b: b.const(1.0, bf16),
        "constant does not fit: bf16 has no constants; write f32 and convert: expected bf16, got 1.0. "
        "Choose a wider type.",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_at_the_line_where_it_stands(name: str) -> None:
    wrong, text = REFUSED[name]
    with pytest.raises(KernelTypeError) as caught:
        wrong(Parts())
    assert str(caught.value) == f"[kernel 'k' at k.py:7] {text}"
    assert isinstance(caught.value, TypeError)


def test_an_operation_that_does_not_exist() -> None:
    with pytest.raises(VerifyError) as caught:
        Parts().emit("poopcount")
    text = "[kernel 'k' at k.py:7] no operation is called 'poopcount'. Did you mean 'popcount'?"
    assert str(caught.value).startswith(text)


def test_without_a_line_only_the_kernel_is_named() -> None:
    b = Builder("bare")
    with pytest.raises(KernelTypeError) as caught:
        b.emit("neg")
    assert str(caught.value).startswith("[kernel 'bare'] neg has the wrong number of operands")


@pytest.mark.parametrize("dtype", ["u32", "f64", "i8x4", "f32x3"])
def test_results_have_the_type_of_the_rule(dtype: str) -> None:
    b, t = Parts(), lookup(dtype)
    x = b.of(t.scalar) if not t.is_vector else b.of(t)
    assert b.emit("add", x, x).dtype == t
    assert b.emit("lt", x, x).dtype == bool_.vector(t.lanes)
    assert b.emit("select", b.of(bool_), x, x).dtype == t
    assert b.emit("convert", x, dtype=bool_.vector(t.lanes)).dtype == bool_.vector(t.lanes)


def test_every_accepted_type_is_accepted_and_no_other() -> None:
    from loom.core.dtype import SCALARS

    for op in OPS.values():
        if not op.is_pure or op.accepts.name in ("SPECIAL", "NONE", "ANY"):
            continue
        for dtype in SCALARS.values():
            b = Parts()
            args = [b.of(f32) if dtype is f32 else b.emit("convert", b.of(f32), dtype=dtype)] * op.arity
            if op.accepts.allows(dtype):
                assert b.emit(op.name, *args).type.scalar in (dtype, bool_)
            else:
                with pytest.raises(KernelTypeError, match=f"{op.name} cannot take a {dtype}"):
                    b.emit(op.name, *args)


def test_names_given_twice_are_told_apart() -> None:
    b = Builder("k")
    names = [b.buffer("x", f32).name, b.param("x", f32).name, b.variable("x", f32).name, b.shared("y", f32, 1).name]
    assert names == ["x", "x.2", "x.3", "y"]


@pytest.mark.parametrize(
    ("value", "dtype", "bits"),
    [
        (True, bool_, 1), (-1, i32, 0xFFFFFFFF), (2**64 - 1, u64, 2**64 - 1), (-(2**63), i64, 2**63), (5.0, u8, 5),
        (-0.0, f32, 0x80000000), (1e300, f32, 0x7F800000), (0.1, f32, 0x3DCCCCCD), (0.1, f64, 0x3FB999999999999A),
        (1e-46, f32, 0), (1.0, f16, 0x3C00), (65520.0, f16, 0x7C00), (float("nan"), f32, 0x7FC00000),
    ],
)  # fmt: skip
def test_constants_are_rounded_once_and_read_back(value: Any, dtype: DType, bits: int) -> None:
    assert constant_bits(value, dtype) == bits
    assert constant_bits(constant_value(bits, dtype), dtype) == bits
