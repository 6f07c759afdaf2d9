"""Numbers in units: what is written takes the kernels' type, keeps its value, and is read back as it is."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, DTypeError
from loom.flow import (
    ir_begin,
    ir_buf_load,
    ir_buf_store,
    ir_const,
    ir_entry,
    ir_finalize,
    ir_fmul,
    ir_get,
    ir_global_id,
    ir_set,
    ir_var,
    loom_boot,
    loom_build,
    loom_dispatch,
    loom_launch,
    loom_poll,
    loom_read,
    loom_run,
    loom_set_heap,
    loom_wait,
    loom_write,
)

SIEVE = (("sieve_init", [0, 8192, 65536, 0]), ("sieve_mark", [0, 8192, 0, 53]), ("sieve_count", [8192, 8192]))
DOUBLE = "stdlib/loom/kernels/math/double.spv"


@loom.kernel(workgroup=8)
def halve(registers: loom.InOut[loom.i32]) -> None:
    i = loom.global_id()
    registers[i] = registers[i] // 2


@loom.kernel(workgroup=8)
def weigh(globals: loom.In[loom.f32], registers: loom.Out[loom.f32]) -> None:  # noqa: A002
    registers[loom.global_id()] = globals[loom.global_id()] * 0.5


@loom.kernel(workgroup=8)
def look(globals: loom.In[loom.u32], registers: loom.InOut[loom.f32]) -> None:  # noqa: A002
    registers[loom.global_id()] += loom.f32(globals[7])


def run(unit: loom.Unit, *kernels: Any) -> None:
    for kernel in kernels:
        loom_dispatch(unit, kernel, [], 1.0)
    loom_run(loom_build(unit))


@pytest.mark.parametrize("primes", [
    pytest.param(lambda p: [float(q) for q in p], id="floats"),
    pytest.param(lambda p: p, id="u64"),
    pytest.param(lambda p: p.astype(np.float32), id="f32"),
    pytest.param(lambda p: p.astype(np.float64), id="f64"),
    pytest.param(lambda p: p.tolist(), id="ints"),
])  # fmt: skip
@pytest.mark.parametrize("late", [False, True], ids=["before", "after"])
def test_the_sieve_counts_right_whatever_numbers_the_primes_are(primes: Any, late: bool) -> None:
    unit = loom_boot(1.0, 8194, 4096)
    data = primes(loom.gpu_primes(3, 256))
    if not late:
        loom_write(unit, 0.0, data)
    for name, params in SIEVE:
        loom_dispatch(unit, f"stdlib/loom/kernels/{name}.spv", params, 32.0)
    program = loom_build(unit)
    if late:
        loom_write(unit, 0.0, data)  # seen by the next launch
    loom_run(program)
    assert loom_read(unit, 0, 8192, 1, dtype=loom.u32).tolist() == [6542]  # primes below 2^16, OEIS A007053
    assert loom_read(unit, 0, 8192, 1).tolist() == [6542]
    assert loom_read(unit, 1, 0, 3).tolist() == [3, 5, 7]


@pytest.mark.parametrize(
    "numbers", [[1, 2, 3], [1.0, 2.0, 3.0], [-1, 2, 3], [16_777_217, 2**32 - 1, 0], [0.5, -0.25, 3]]
)
@pytest.mark.parametrize("bind", [0, 1, 2])
def test_what_is_written_is_read(numbers: list[float], bind: int) -> None:
    unit = loom_boot(1.0, 8, 8)
    loom_set_heap(unit, [9.0] * 8)
    loom_write(unit, 2.0, numbers, bind=bind)
    assert loom_read(unit, bind, 2, 3).tolist() == numbers
    loom_write(unit, 0.0, [0.5], bind=bind)
    assert loom_read(unit, bind, 0.0, 5)[[0, 2, 3, 4]].tolist() == [0.5, *numbers]


def test_ints_reach_a_float_kernel_as_floats() -> None:
    unit = loom_boot(1.0, 8, 0)
    loom_write(unit, 0, [1, 2, 3, 4, 5, 6, 7, 8], bind=0)
    run(unit, DOUBLE)
    assert loom_read(unit, 0.0, 0.0, 8).tolist() == [2, 4, 6, 8, 10, 12, 14, 16]
    unit = loom_boot(1.0, 8, 0)
    loom_write(unit, 0, np.arange(8, dtype=np.uint32), bind=0)
    run(unit, DOUBLE)
    assert loom_read(unit, 0.0, 0.0, 8).tolist() == [0, 2, 4, 6, 8, 10, 12, 14]


def test_the_heap_holds_numbers_too() -> None:
    unit = loom_boot(1.0, 8, 0)
    loom_set_heap(unit, [1.0, 2.0])
    loom_write(unit, 0, [5.0], bind=2)
    assert loom_read(unit, 2, 0, 2).tolist() == [5.0, 2.0]
    loom_write(unit, 1, [1.5], bind=2)
    assert loom_read(unit, 2, 0, 2).tolist() == [5.0, 1.5]
    loom_set_heap(unit, [7, 8, 9])
    assert loom_read(unit, 2, 0, 3).tolist() == [7, 8, 9]


@loom.kernel(workgroup=8)
def of_heap(heap: loom.In[loom.f32], registers: loom.Out[loom.f32]) -> None:
    registers[loom.global_id()] = heap[loom.global_id()]


def test_a_kernel_may_read_the_heap_as_floats() -> None:
    unit = loom_boot(1.0, 8, 0)
    loom_set_heap(unit, [1, 2, 3, 4, 5, 6, 7, 8])
    run(unit, of_heap)
    assert loom_read(unit, 0, 0, 8).tolist() == [1, 2, 3, 4, 5, 6, 7, 8]


def test_negative_numbers_of_an_integer_kernel() -> None:
    unit = loom_boot(1.0, 8, 0)
    loom_write(unit, 0, [-7.0, 7.0], bind=0)
    run(unit, halve)
    assert loom_read(unit, 0, 0, 3).tolist() == [-4, 3, 0]


def test_a_variable_of_a_written_kernel_carries_the_type() -> None:
    prog = ir_begin(workgroup=4)
    body = ir_entry(prog)
    lane = ir_global_id(body)
    kept = ir_var(body, ir_buf_load(body, 0, lane))
    ir_set(body, kept, ir_buf_load(body, 1, lane))
    ir_buf_store(body, 0, lane, ir_fmul(body, ir_get(body, kept), ir_const(body, 0.5)))
    kernel = ir_finalize(prog)
    unit = loom_boot(1.0, 4, 4)
    loom_write(unit, 0, [1, 2, 3, 4])
    run(unit, kernel)
    assert loom_read(unit, 0, 0, 4).tolist() == [0.5, 1, 1.5, 2]


def test_where_kernels_disagree_numbers_keep_their_own_type() -> None:
    unit = loom_boot(1.0, 8, 8)
    loom_write(unit, 0, [2.0, 4.0])
    loom_write(unit, 7, [3])
    run(unit, weigh, look)
    assert loom_read(unit, 0, 0, 2).tolist() == [4.0, 5.0]
    with pytest.raises(ArgumentError, match=re.escape(
        "[loom_read] the globals hold numbers of several types: expected dtype=loom.f32, u32 or i32, got none, and "
        "words taken as f32 by 'weigh' and u32 by 'look'. Say which: loom_read(..., dtype=loom.u32)."
    )):  # fmt: skip
        loom_read(unit, 1, 0, 8)
    assert loom_read(unit, 1, 0, 2, dtype=loom.f32).tolist() == [2.0, 4.0]
    assert loom_read(unit, 1, 7, 1, dtype=loom.u32).tolist() == [3]


def test_numbers_given_a_type_are_not_taken_for_another() -> None:
    unit = loom_boot(1.0, 8, 8)
    loom_write(unit, 7, [3])
    run(unit, weigh)  # makes the 3 an f32
    loom_dispatch(unit, look, [], 1)
    with pytest.raises(ArgumentError, match=re.escape(
        "[loom_build] the numbers at word 7 of the globals have one type already: expected kernels that take them as "
        "one type, got f32 by 'weigh' and u32 by 'look'. Record both"
    )):  # fmt: skip
        loom_build(unit)


def test_a_fraction_is_no_integer() -> None:
    text = "is no i32, which kernel 'halve' takes it for: expected a whole number from -2147483648 to 2147483647, got "
    unit = loom_boot(1.0, 8, 0)
    loom_write(unit, 1, [1.0, 1.5], bind=0)
    loom_dispatch(unit, halve, [], 1)
    with pytest.raises(ArgumentError, match=re.escape(f"[loom_build] word 2 of the registers {text}1.5.")):
        loom_build(unit)
    loom_write(unit, 2, [1.0], bind=0)  # the remedy
    program = loom_build(unit)
    with pytest.raises(ArgumentError, match=re.escape(f"[loom_write] word 0 of the registers {text}nan.")):
        loom_write(unit, 0, [float("nan")], bind=0)
    with pytest.raises(ArgumentError, match=re.escape(f"[loom_write] word 0 of the registers {text}2147483648.")):
        loom_write(unit, 0, [2**31], bind=0)
    loom_write(unit, 0, [6.0], bind=0)
    loom_run(program)
    assert loom_read(unit, 0, 0, 3).tolist() == [3, 0, 0]


@pytest.mark.parametrize(("data", "text"), [
    (["a"], "not numbers"), ([2**32], "got np.int64(4294967296)"), ([1e39], "got np.float64(1e+39)"),
    ([[1], [1, 2]], "the rows differ in length"), (np.ma.masked_array([1.0, 2.0], [0, 1]), "the array has a mask"),
    ([True], "got bool"), (None, "got NoneType"),
])  # fmt: skip
def test_what_is_no_number(data: Any, text: str) -> None:
    with pytest.raises(DTypeError, match=re.escape(text)):
        loom_write(loom_boot(1.0, 4, 4), 0, data)


def test_parameters_that_are_no_list() -> None:
    unit = loom_boot(1.0, 8, 0)
    with pytest.raises(DTypeError, match="params are neither a sequence nor a mapping"):
        loom_dispatch(unit, halve, 1.0, 1.0)  # type: ignore[arg-type]


def test_bindings_by_name() -> None:
    unit = loom_boot(1.0, 8, 8)
    loom_write(unit, 0, [4.0, 6.0])
    loom_dispatch(unit, halve, [], 1, bind={"registers": "globals"})
    loom_run(loom_build(unit))
    assert loom_read(unit, 1, 0, 2).tolist() == [2, 3]


def test_runs_that_others_launched_are_polled() -> None:
    unit = loom_boot(1.0, 8, 0)
    loom_dispatch(unit, halve, [], 1)
    program = unit.build()
    program.launch()
    loom_wait(program)
    loom_wait(unit, 5.0)
    assert (loom_poll(program), loom_poll(unit)) == (1.0, 1.0)
    other = loom_boot(1.0, 8, 0)
    loom_dispatch(other, halve, [], 1)
    programs = [program, loom_build(other)]
    loom.swarm(programs).launch()
    for handle in (*programs, other):
        loom_wait(handle)
        assert loom_poll(handle) == 1.0
    loom_launch(programs[1])
    loom_wait(other)


def test_import_loom_suffices() -> None:
    code = "import loom; assert loom.flow.loom_boot(1.0, 2, 0) and loom.flow.dnvm.train_simple and 'flow' in dir(loom)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_name_of_the_flow_that_is_misspelt() -> None:
    with pytest.raises(AttributeError, match="Did you mean 'loom_read'"):
        loom.flow.loom_reed  # type: ignore[attr-defined]  # noqa: B018
