"""Tier 3, wrong use: every mistake is a Loom error that says what to do, as early as it can be seen."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from loom import flow
from loom.core.errors import ArgumentError, DTypeError, KernelTypeError, LoomError, StateError, VerifyError
from loom.flow import (
    ir_begin,
    ir_block,
    ir_buf_load,
    ir_buf_store,
    ir_const,
    ir_const_u,
    ir_entry,
    ir_finalize,
    ir_fmul,
    ir_global_id,
)
from loom.flow.draft import IrProgram


class Parts:
    """A kernel begun, with one value of each type."""

    def __init__(self) -> None:
        self.prog: IrProgram = ir_begin(name="mine")
        self.body = ir_entry(self.prog)
        self.f = ir_const(self.body, 1.0)
        self.u = ir_const_u(self.body, 1)
        self.w = ir_buf_load(self.body, 0, self.u)
        self.u64 = flow.ir_u32_to_u64(self.body, self.u)
        self.truth = flow.ir_lt(self.body, self.u, self.u)


MISUSES: dict[str, tuple[Callable[[Parts], Any], type[LoomError], str]] = {
    "program for a block": (
        lambda p: flow.ir_fadd(p.prog, p.f, p.f),
        DTypeError,
        "[ir_fadd] not a block: expected what ir_entry, ir_block, ir_if or ir_loop returned, "
        "got IrProgram. Write body = ir_block(prog).",
    ),
    "block for a program": (
        lambda p: ir_block(p.body),
        DTypeError,
        "[ir_block] not a kernel program: expected what ir_begin returned, got IrBlock. Write prog = ir_begin().",
    ),
    "number for a value": (
        lambda p: ir_fmul(p.body, p.f, 2.0),
        DTypeError,
        "[ir_fmul] not a value: expected what an ir_ function returned, got 2.0. "
        "Write ir_const(block, 2.0) or ir_const_u(block, 2.0).",
    ),
    "nothing for a value": (
        lambda p: flow.ir_iadd(p.body, p.u, None),
        DTypeError,
        "got NoneType. Pass a value.",
    ),
    "another kernel's value": (
        lambda p: ir_fmul(p.body, p.f, Parts().f),
        ArgumentError,
        "[ir_fmul] the value belongs to another kernel: expected a value of 'mine', "
        "got one of 'mine'. Compute it in this kernel.",
    ),
    "float for an integer": (
        lambda p: flow.ir_iadd(p.body, p.u, p.f),
        KernelTypeError,
        "ir_iadd takes u32: expected u32, got f32. Convert with ir_f32_to_u32, or keep the bits with ir_as_u32.",
    ),
    "integer for a float": (
        lambda p: flow.ir_fadd(p.body, p.u, p.f),
        KernelTypeError,
        "ir_fadd takes f32: expected f32, got u32. Convert with ir_u32_to_f32, or keep the bits with ir_as_f32.",
    ),
    "word for 64 bits": (
        lambda p: flow.ir_iadd64(p.body, p.u64, p.w),
        KernelTypeError,
        "ir_iadd64 takes u64: expected u64, got a word. Widen with ir_u32_to_u64.",
    ),
    "64 bits stored": (
        lambda p: ir_buf_store(p.body, 0, p.u, p.u64),
        KernelTypeError,
        "ir_buf_store takes u32: expected u32, got u64. Narrow with ir_u64_to_u32.",
    ),
    "condition stored": (
        lambda p: flow.ir_shared_store(p.body, p.u, p.truth),
        KernelTypeError,
        "got bool. Choose a number with ir_select.",
    ),
    "float index": (lambda p: ir_buf_load(p.body, 0, p.f), KernelTypeError, "ir_buf_load takes u32"),
    "word for a condition": (
        lambda p: flow.ir_if(p.body, p.w),
        KernelTypeError,
        "ir_if takes bool: expected bool, got a word. Compare",
    ),
    "two words compared": (
        lambda p: flow.ir_lt(p.body, p.w, p.w),
        KernelTypeError,
        "ir_lt cannot tell the type of two words: expected one operand of known type, "
        "got two words. Say it with ir_as_f32 or ir_as_u32.",
    ),
    "comparison of types": (lambda p: flow.ir_eq(p.body, p.u, p.f), KernelTypeError, "ir_eq takes u32"),
    "conditions ordered": (
        lambda p: flow.ir_lt(p.body, p.truth, p.truth),
        KernelTypeError,
        "lt cannot take a bool",
    ),
    "missing binding": (
        lambda p: ir_buf_load(p.body, -1.0, p.u),
        ArgumentError,
        "[ir_buf_load] unusable binding: expected a whole number of at least 0, got -1.0.",
    ),
    "fractional binding": (
        lambda p: ir_buf_load(p.body, 0.5, p.u),
        ArgumentError,
        "[ir_buf_load] unusable binding: expected a whole number of at least 0, got 0.5.",
    ),
    "named binding": (lambda p: ir_buf_load(p.body, "registers", p.u), ArgumentError, "got 'registers'"),
    "constant not whole": (
        lambda p: ir_const_u(p.body, 1.5),
        KernelTypeError,
        "constant does not fit: 1.5 is not a whole number",
    ),
    "constant too large": (lambda p: ir_const_u(p.body, 2**32), KernelTypeError, "constant does not fit"),
    "constant negative": (lambda p: ir_const_u(p.body, -1.0), KernelTypeError, "constant does not fit"),
    "constant no number": (
        lambda p: ir_const(p.body, True),
        DTypeError,
        "[ir_const] not a number: expected an int or float, got True.",
    ),
    "push constant of two types": (
        lambda p: (flow.ir_push_const(p.body, 0), flow.ir_push_const_u(p.body, 0)),
        KernelTypeError,
        "push constant 0 has two types: expected f32, got u32.",
    ),
    "dimension": (
        lambda p: (ir_buf_store(p.body, 0, ir_global_id(p.body, 3), p.u), ir_finalize(p.prog)),
        VerifyError,
        "global_id 3 does not exist: expected 0 to 2, got 3.",
    ),
    "second entry": (lambda p: ir_entry(p.prog), StateError, "[ir_entry] the kernel has an entry already."),
    "value for a variable": (
        lambda p: flow.ir_get(p.body, p.u),
        DTypeError,
        "[ir_get] not a variable of this kernel: expected what ir_var returned, got IrValue.",
    ),
    "variable of other type": (
        lambda p: flow.ir_set(p.body, flow.ir_var(p.body, p.f), p.u),
        KernelTypeError,
        "ir_set takes f32",
    ),
    "loop of two types": (lambda p: flow.ir_loop(p.body, p.u64, p.u), KernelTypeError, "ir_loop takes u64"),
    "block before entry": (
        lambda p: ir_block(ir_begin()),
        StateError,
        "[ir_block] the kernel has no entry. Write entry = ir_entry(prog) first.",
    ),
    "finalize before entry": (
        lambda p: ir_finalize(ir_begin()),
        StateError,
        "[ir_finalize] the kernel has no entry.",
    ),
    "after finalize": (
        lambda p: (ir_finalize(p.prog), flow.ir_barrier(p.body)),
        StateError,
        "[ir_barrier] kernel 'mine' is finished. Begin another with ir_begin.",
    ),
    "finalize twice": (
        lambda p: (ir_finalize(p.prog), ir_finalize(p.prog)),
        StateError,
        "[ir_finalize] kernel 'mine' is finished",
    ),
    "workgroup of nothing": (
        lambda p: ir_begin(workgroup=0),
        ArgumentError,
        "[ir_begin] unusable workgroup: expected a whole number of at least 1",
    ),
    "workgroup of 4 extents": (
        lambda p: ir_begin(workgroup=(2, 2, 2, 2)),
        ArgumentError,
        "wrong number of extents: expected 1 to 3, got 4.",
    ),
    "shared of nothing": (lambda p: ir_begin(shared=0), ArgumentError, "[ir_begin] unusable shared size"),
    "name": (
        lambda p: ir_begin(name="my kernel"),
        ArgumentError,
        "[ir_begin] unusable name: expected an identifier, got 'my kernel'.",
    ),
}


@pytest.mark.parametrize(("wrong", "error", "text"), MISUSES.values(), ids=MISUSES)
def test_misuse(wrong: Callable[[Parts], Any], error: type[LoomError], text: str) -> None:
    with pytest.raises(error, match=re.escape(text)):
        wrong(Parts())


def test_errors_name_kernel_and_line() -> None:
    parts = Parts()
    with pytest.raises(KernelTypeError, match=r"^\[kernel 'mine' at .*test_ir_errors.py:\d+\] "):
        flow.ir_fadd(parts.body, parts.u, parts.u)


def test_finalize_refuses_a_race_with_its_lines() -> None:
    prog = ir_begin(workgroup=4)
    body = ir_entry(prog)
    flow.ir_shared_store(body, ir_const_u(body, 0), ir_global_id(body))
    with pytest.raises(VerifyError, match=r"test_ir_errors.py:\d+\] lanes race on 'shared'"):
        ir_finalize(prog)


def test_finalize_refuses_a_value_out_of_scope() -> None:
    prog = ir_begin(workgroup=1)
    body = ir_entry(prog)
    zero = ir_const_u(body, 0)
    then, _ = flow.ir_if(body, flow.ir_eq(body, zero, zero))
    inside = ir_const_u(then, 1)
    ir_buf_store(body, 0, zero, inside)
    with pytest.raises(VerifyError, match="const is used where it is not computed"):
        ir_finalize(prog)


def test_finalize_refuses_a_divergent_barrier() -> None:
    prog = ir_begin(workgroup=4)
    body = ir_entry(prog)
    then, _ = flow.ir_if(body, flow.ir_lt(body, ir_global_id(body), ir_const_u(body, 2)))
    flow.ir_barrier(then)
    with pytest.raises(VerifyError, match="barrier in divergent flow"):
        ir_finalize(prog)
