"""Tier 3: every operation means what its name says, on every device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import loom
from loom import flow
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
from loom.flow.draft import IrBlock, IrValue
from loom.ir.text import print_kernel
from loom.ir.verified import VerifiedKernel

SEEDS_TABLE = {
    "ir_begin", "ir_entry", "ir_block", "ir_global_id", "ir_const", "ir_const_u", "ir_buf_load",
    "ir_buf_store", "ir_fadd", "ir_fsub", "ir_fmul", "ir_fdiv", "ir_iadd", "ir_isub", "ir_imul", "ir_shl",
    "ir_shr", "ir_not", "ir_bitcount", "ir_buf_atomic_and", "ir_barrier", "ir_shared_load",
    "ir_shared_store", "ir_u32_to_u64", "ir_u64_to_u32", "ir_imul64", "ir_iadd64", "ir_udiv64",
    "ir_finalize",
}  # fmt: skip

DEVICES = ("cpu", "interp")
LANES = 8


def run(kernel: VerifiedKernel, words: Any, params: Any = (), *, groups: int = 1, device: str = "cpu") -> np.ndarray:
    """Run a kernel over registers that start as ``words``; return them as u32."""
    data = words if isinstance(words, np.ndarray) else np.array(words, np.uint32)
    with loom.boot(registers=data.size, device=device) as unit:
        unit.write(data, binding="registers")
        unit.dispatch(kernel, params, groups)
        unit.build().run()
        return unit.read()


def elementwise(compute: Callable[..., IrValue], operands: int) -> VerifiedKernel:
    """The kernel that stores ``compute(block, x, y, ...)`` of words 8 i + 1, ... as word 8 i."""
    prog = ir_begin(workgroup=LANES)
    body = ir_entry(prog)
    base = flow.ir_imul(body, ir_global_id(body), ir_const_u(body, LANES))
    places = [flow.ir_iadd(body, base, ir_const_u(body, k + 1)) for k in range(operands)]
    ir_buf_store(body, 0, base, compute(body, *(ir_buf_load(body, 0, p) for p in places)))
    return ir_finalize(prog)


def apply(compute: Callable[..., IrValue], *operands: Any, device: str = "cpu") -> np.ndarray:
    """Apply ``compute`` to arrays of 8 words each; return the 8 resulting words."""
    memory = np.zeros((LANES, LANES), np.uint32)
    for k, values in enumerate(operands):
        memory[:, k + 1] = values.view(np.uint32)
    kernel = elementwise(compute, len(operands))
    return run(kernel, memory.reshape(-1), device=device).reshape(LANES, LANES)[:, 0]


F = np.array([1.5, -0.0, 3e38, 1e-45, np.inf, 0.1, -7.25, 2.0], np.float32)
G = np.array([2.5, 0.0, 3e38, 1.0, -np.inf, 0.2, 3.0, 2.0], np.float32)
U = np.array([0, 1, 7, 0xFFFFFFFF, 0x80000000, 12345, 31, 100], np.uint32)
V = np.array([5, 0, 3, 0xFFFFFFFF, 1, 67, 32, 7], np.uint32)
W, V64 = U.astype(np.uint64) * 65537, V.astype(np.uint64)
MOST = 2**32 - 1


def wide(name: str) -> Callable[..., IrValue]:
    """A 64-bit operation on words, shifted up so that the high half matters."""

    def compute(block: IrBlock, a: IrValue, b: IrValue) -> IrValue:
        up = flow.ir_u32_to_u64(block, ir_const_u(block, 0x10001))
        x = flow.ir_imul64(block, flow.ir_u32_to_u64(block, a), up)
        result = getattr(flow, name)(block, x, flow.ir_u32_to_u64(block, b))
        low = flow.ir_shr(block, result, flow.ir_u32_to_u64(block, ir_const_u(block, 16)))
        return flow.ir_u64_to_u32(block, low)

    return compute


def choice(name: str, dtype: str) -> Callable[..., IrValue]:
    """A comparison, stored as 1 or 0."""

    def compute(block: IrBlock, a: IrValue, b: IrValue) -> IrValue:
        typed = getattr(flow, f"ir_as_{dtype}")(block, a)
        truth = getattr(flow, name)(block, typed, b)
        return flow.ir_select(block, truth, ir_const_u(block, 1), ir_const_u(block, 0))

    return compute


with np.errstate(all="ignore"):
    CASES: list[tuple[str, Callable[..., IrValue], tuple[Any, ...], Any]] = [
        ("ir_fadd", flow.ir_fadd, (F, G), F + G),
        ("ir_fsub", flow.ir_fsub, (F, G), F - G),
        ("ir_fmul", flow.ir_fmul, (F, G), F * G),
        ("ir_fdiv", flow.ir_fdiv, (F, G), F / G),
        ("ir_fsqrt", flow.ir_fsqrt, (abs(F),), np.sqrt(abs(F))),
        ("ir_iadd", flow.ir_iadd, (U, V), U + V),
        ("ir_isub", flow.ir_isub, (U, V), U - V),
        ("ir_imul", flow.ir_imul, (U, V), U * V),
        ("ir_udiv", flow.ir_udiv, (U, V), np.where(V == 0, 0, U // np.maximum(V, 1)).astype(np.uint32)),
        ("ir_umod", flow.ir_umod, (U, V), np.where(V == 0, U, U % np.maximum(V, 1)).astype(np.uint32)),
        ("ir_and", flow.ir_and, (U, V), U & V),
        ("ir_or", flow.ir_or, (U, V), U | V),
        ("ir_xor", flow.ir_xor, (U, V), U ^ V),
        ("ir_not", flow.ir_not, (U,), ~U),
        ("ir_shl", flow.ir_shl, (U, V), U << V % 32),
        ("ir_shr", flow.ir_shr, (U, V), U >> V % 32),
        ("ir_bitcount", flow.ir_bitcount, (U,), np.array([0, 1, 3, 32, 1, 6, 5, 3], np.uint32)),
        ("ir_u32_to_f32", flow.ir_u32_to_f32, (U,), U.astype(np.float32)),
        ("ir_f32_to_u32", flow.ir_f32_to_u32, (F,), np.array([1, 0, MOST, 0, MOST, 0, 0, 2], np.uint32)),
        ("ir_iadd64", wide("ir_iadd64"), (U, V), W + V64 >> 16),
        ("ir_isub64", wide("ir_isub64"), (U, V), W - V64 >> 16),
        ("ir_imul64", wide("ir_imul64"), (U, V), W * V64 >> 16),
        ("ir_udiv64", wide("ir_udiv64"), (U, V), np.where(V == 0, 0, W // np.maximum(V64, 1)) >> 16),
        ("ir_umod64", wide("ir_umod64"), (U, V), np.where(V == 0, W, W % np.maximum(V64, 1)) >> 16),
        *((f"ir_{c} u32", choice(f"ir_{c}", "u32"), (U, V), n(U, V)) for c, n in (
            ("lt", np.less), ("le", np.less_equal), ("gt", np.greater), ("ge", np.greater_equal),
            ("eq", np.equal), ("ne", np.not_equal))),
        *((f"ir_{c} f32", choice(f"ir_{c}", "f32"), (F, G), n(F, G)) for c, n in (
            ("lt", np.less), ("le", np.less_equal), ("gt", np.greater), ("ge", np.greater_equal),
            ("eq", np.equal), ("ne", np.not_equal))),
    ]  # fmt: skip


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("compute", "operands", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_operation(compute: Callable[..., IrValue], operands: tuple[Any, ...], expected: Any, device: str) -> None:
    bits = expected.view(np.uint32) if expected.dtype == np.float32 else expected.astype(np.uint32)
    assert apply(compute, *operands, device=device).tolist() == bits.tolist()


def test_every_name_of_the_seeds_is_there_and_documented() -> None:
    assert set(flow.__all__) >= SEEDS_TABLE
    assert len(set(flow.__all__)) == len(flow.__all__)
    for name in flow.__all__:
        assert getattr(flow, name).__doc__, name


# the doubling kernel


def doubling() -> VerifiedKernel:
    prog = ir_begin()
    entry = ir_entry(prog)
    body = ir_block(prog)

    gid = ir_global_id(entry)
    val = ir_buf_load(body, 0.0, gid)
    doubled = ir_fmul(body, val, ir_const(body, 2.0))
    ir_buf_store(body, 0.0, gid, doubled)

    return ir_finalize(prog)


def test_the_seeds_doubling_kernel() -> None:
    data = np.linspace(-1, 1, 1024, dtype=np.float32)
    assert (run(doubling(), data, groups=4).view(np.float32) == data * 2).all()


def test_the_ir_is_what_was_written() -> None:
    assert (
        print_kernel(doubling().kernel)
        == """\
kernel @ir_kernel workgroup 256 1 1 {
  buffer registers: u32 read_write
  %0 = global_id 0 : u32
  %1 = load registers %0 : u32
  %2 = const 0x40000000 : f32
  %3 = bitcast %1 : f32
  %4 = mul %3 %2 : f32
  %5 = bitcast %4 : u32
  store registers %0 %5
}
"""
    )


def test_the_debugger_names_the_line_of_the_builder_call() -> None:
    with (
        loom.debug(),
        pytest.raises(IndexError, match=r"test_ir.py:\d+\] load outside buffer 'registers' in lane 256"),
    ):
        run(doubling(), np.zeros(256, np.float32), groups=2)


def test_same_bits_as_a_python_kernel() -> None:
    @loom.kernel(workgroup=256)
    def double(registers: loom.InOut[loom.f32]) -> None:
        i = loom.global_id()
        registers[i] = registers[i] * 2

    data = np.random.default_rng(1).integers(0, 2**32, 1024, np.uint32)
    assert run(doubling(), data, groups=4).tolist() == run(double.verified, data, groups=4).tolist()


def test_blocks_run_in_the_order_they_were_made() -> None:
    prog = ir_begin(workgroup=1)
    entry, first, second = ir_entry(prog), ir_block(prog), ir_block(prog)
    zero = ir_const_u(entry, 0)
    ir_buf_store(second, 0, zero, ir_const_u(second, 2))
    ir_buf_store(first, 0, zero, ir_const_u(first, 1))
    assert run(ir_finalize(prog), [0]).tolist() == [2]


# memory, shared memory, atomics, identity


def test_shared_memory_and_barrier_reverse_a_group() -> None:
    prog = ir_begin(workgroup=16, shared=16)
    body = ir_entry(prog)
    gid, lane = ir_global_id(body), flow.ir_local_id(body)
    flow.ir_shared_store(body, lane, ir_buf_load(body, 0, gid))
    flow.ir_barrier(body)
    mirrored = flow.ir_isub(body, ir_const_u(body, 15), lane)
    ir_buf_store(body, 0, gid, flow.ir_shared_load(body, mirrored))
    kernel = ir_finalize(prog)
    assert kernel.kernel.shared[0].size == 16
    data = np.arange(48, dtype=np.uint32)
    assert run(kernel, data, groups=3).tolist() == data.reshape(3, 16)[:, ::-1].reshape(-1).tolist()


def test_shared_memory_is_declared_only_where_used() -> None:
    assert doubling().kernel.shared == ()


@pytest.mark.parametrize(
    ("atomic", "start", "value", "end"),
    [
        ("ir_buf_atomic_and", 0xFF, 0xF0, 0xF0),
        ("ir_buf_atomic_or", 0x1, 0x6, 0x7),
        ("ir_buf_atomic_add", 5, 3, 29),
    ],
)
def test_atomics(atomic: str, start: int, value: int, end: int) -> None:
    prog = ir_begin(workgroup=8, order="any")
    body = ir_entry(prog)
    old = getattr(flow, atomic)(body, 0.0, ir_const_u(body, 0), ir_const_u(body, value))
    ir_buf_store(body, 0.0, flow.ir_iadd(body, ir_global_id(body), ir_const_u(body, 1)), old)
    result = run(ir_finalize(prog), np.array([start] + [0] * 8, np.uint32))
    assert result[0] == end
    assert start in result[1:]


def test_bindings_are_registers_globals_heap_in_order_of_number() -> None:
    prog = ir_begin(workgroup=4)
    body = ir_entry(prog)
    gid = ir_global_id(body)
    heap, shared = ir_buf_load(body, 2.0, gid), ir_buf_load(body, 1, gid)
    ir_buf_store(body, 0, gid, flow.ir_iadd(body, heap, shared))
    kernel = ir_finalize(prog)
    assert [m.name for m in kernel.kernel.buffers] == ["registers", "globals", "heap"]
    with loom.boot(4, 4, np.array([10, 20, 30, 40], np.uint32)) as unit:
        unit.write([1, 2, 3, 4])
        unit.dispatch(kernel)
        unit.build().run()
        assert unit.read().tolist() == [11, 22, 33, 44]


def test_identity_and_length() -> None:
    prog = ir_begin(workgroup=(2, 2))
    body = ir_entry(prog)
    two, four = ir_const_u(body, 2), ir_const_u(body, 4)
    x, y = flow.ir_local_id(body), flow.ir_local_id(body, 1)
    lane = flow.ir_iadd(body, flow.ir_imul(body, y, two), x)
    place = flow.ir_iadd(body, flow.ir_imul(body, flow.ir_group_id(body), four), lane)
    size = flow.ir_imul(body, flow.ir_num_groups(body), flow.ir_buf_len(body, 0))
    ir_buf_store(body, 0, place, flow.ir_iadd(body, size, ir_global_id(body)))
    assert run(ir_finalize(prog), [0] * 8, groups=2).tolist() == [16, 17, 16, 17, 18, 19, 18, 19]


def test_push_constants_by_number_and_type() -> None:
    prog = ir_begin(workgroup=1)
    body = ir_entry(prog)
    ir_buf_store(body, 0, ir_const_u(body, 0), flow.ir_push_const(body, 2.0))
    ir_buf_store(body, 0, ir_const_u(body, 1), flow.ir_push_const_u(body, 0))
    kernel = ir_finalize(prog)
    assert [(p.name, str(p.dtype)) for p in kernel.kernel.params] == [
        ("p0", "u32"),
        ("p1", "u32"),
        ("p2", "f32"),
    ]
    result = run(kernel, [0, 0], [0xFFFFFFFF, 0, 0.5])
    assert result.tolist() == [np.float32(0.5).view(np.uint32), 0xFFFFFFFF]


# structure and state


@pytest.mark.parametrize("device", DEVICES)
def test_branch_loop_and_variables(device: str) -> None:
    """Word i becomes the sum of the odd numbers below it, or 1000 where i is divisible by 3."""
    prog = ir_begin(workgroup=32)
    body = ir_entry(prog)
    gid, zero, one = ir_global_id(body), ir_const_u(body, 0), ir_const_u(body, 1)
    total = flow.ir_var(body, zero)
    multiple = flow.ir_eq(body, flow.ir_umod(body, gid, ir_const_u(body, 3)), zero)
    then, other = flow.ir_if(body, multiple)
    flow.ir_set(then, total, ir_const_u(then, 1000))
    turn, k = flow.ir_loop(other, one, gid, ir_const_u(other, 2))
    flow.ir_set(turn, total, flow.ir_iadd(turn, flow.ir_get(turn, total), k))
    ir_buf_store(body, 0, gid, flow.ir_get(body, total))
    result = run(ir_finalize(prog), [0] * 32, device=device)
    assert result.tolist() == [1000 if i % 3 == 0 else sum(range(1, i, 2)) for i in range(32)]


def test_a_loop_of_u64_and_a_condition_combined() -> None:
    prog = ir_begin(workgroup=1)
    body = ir_entry(prog)
    low = flow.ir_shl(body, *(flow.ir_u32_to_u64(body, ir_const_u(body, n)) for n in (1, 40)))
    high = flow.ir_iadd64(body, low, flow.ir_u32_to_u64(body, ir_const_u(body, 10)))
    count = flow.ir_var(body, ir_const_u(body, 0))
    turn, k = flow.ir_loop(body, low, high)
    odd = flow.ir_eq(turn, flow.ir_and(turn, flow.ir_u64_to_u32(turn, k), ir_const_u(turn, 1)), ir_const_u(turn, 1))
    late = flow.ir_gt(turn, k, low)
    then, _ = flow.ir_if(turn, flow.ir_and(turn, flow.ir_not(turn, odd), late))
    flow.ir_set(then, count, flow.ir_iadd(then, flow.ir_get(then, count), ir_const_u(then, 1)))
    ir_buf_store(body, 0, ir_const_u(body, 0), flow.ir_get(body, count))
    assert run(ir_finalize(prog), [0]).tolist() == [4]


def test_words_stay_words_through_select_and_variables() -> None:
    def compute(block: IrBlock, a: IrValue, b: IrValue) -> IrValue:
        state = flow.ir_var(block, a)
        larger = flow.ir_gt(block, flow.ir_as_f32(block, b), a)
        flow.ir_set(block, state, flow.ir_select(block, larger, b, a))
        return flow.ir_fadd(block, flow.ir_get(block, state), ir_const(block, 0.0))

    with np.errstate(all="ignore"):
        expected = np.where(G > F, G, F) + np.float32(0)
    assert apply(compute, F, G).tolist() == expected.view(np.uint32).tolist()
