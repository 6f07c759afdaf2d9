"""Programs in the kernel language that a stranger would write (``programs``): the interpreter's bits everywhere.

The interpreter runs the kernel as it was translated, devices as it was verified. Always: some seeds, each at two
widths; with ``make prove``: two thousand, at every width with one thread and with two.
"""

from __future__ import annotations

import ast
from functools import lru_cache
from typing import Any

import numpy as np
import pytest

from conformance.programs import Program, random_program
from conformance.running import Bits, bits_of, environment, execute, require_same
from loom.core.errors import AssertionFailed
from loom.ir.interp import interpret
from loom.ir.kernel import Memory
from loom.runtime.chain import Chain

WIDTHS = (1, 4, 8, 16)
_FAST, _SLOW, _BATCH = 40, 2000, 49


@lru_cache(maxsize=64)
def _expected(seed: int) -> tuple[Program, list[Bits]]:
    program = random_program(seed)
    arrays = [a.copy() for a in program.arrays]
    interpret(program.kernel().ir, arrays, program.params, program.groups)
    return program, arrays


def _compare(seed: int, where: str, got: list[Bits], memories: tuple[Memory, ...]) -> None:
    for memory, array, want in zip(memories, got, _expected(seed)[1], strict=True):
        name = f"program {seed} on {where}, {memory.name}"
        require_same(bits_of(array, memory.dtype), bits_of(want, memory.dtype), name)


def _of_width(seed: int, on: str, width: int, threads: int) -> None:
    program, _ = _expected(seed)
    kernel = program.kernel().verified
    with environment(LOOM_SIMD=width, LOOM_THREADS=threads):
        got = execute(kernel, program.arrays, program.params, program.groups, on=on, launch=threads > 1)
    _compare(seed, f"{on}, width {width}, {threads} threads", got, kernel.kernel.buffers)


@pytest.mark.needs("vectors")
@pytest.mark.parametrize("first", range(0, _FAST, 8))
def test_bits(first: int, on: str) -> None:
    for seed in range(first, first + 8):
        for width in (WIDTHS[seed % 4], WIDTHS[(seed + 1) % 4]):
            _of_width(seed, on, width, 1 + seed % 2)


@pytest.mark.slow
@pytest.mark.needs("vectors")
@pytest.mark.parametrize("first", range(_FAST, _SLOW, _BATCH))
def test_bits_of_many(first: int, on: str) -> None:
    for seed in range(first, first + _BATCH):
        for width in WIDTHS:
            for threads in (1, 2):
                _of_width(seed, on, width, threads)


def _of_threads(seeds: range, device: Any) -> None:
    wrong = []
    for seed in seeds:
        program, _ = _expected(seed)
        kernel = program.kernel().verified
        if len(kernel.kernel.buffers) + 2 > device.describe().limits.get("buffers", 1000):
            continue
        got = execute(kernel, program.arrays, program.params, program.groups, on=device)
        try:
            _compare(seed, device.name, got, kernel.kernel.buffers)
        except AssertionError as error:
            wrong.append(str(error))
    assert not wrong, "\n".join(wrong)


@pytest.mark.needs("threads")
def test_bits_of_threads(device: Any) -> None:
    _of_threads(range(12), device)


@pytest.mark.slow
@pytest.mark.needs("threads")
@pytest.mark.parametrize("first", range(0, 400, _BATCH))
def test_bits_of_many_of_threads(first: int, device: Any) -> None:
    _of_threads(range(first, first + _BATCH), device)


def _after_a_fault(seed: int, device: Any) -> bool:
    """Compare what a program with asserts leaves, and what it tells; tell whether one failed."""
    program = random_program(seed, asserts=True)
    kernel, want = program.kernel(), [a.copy() for a in program.arrays]
    told = ["", ""]
    try:
        interpret(kernel.ir, want, program.params, program.groups)
    except AssertionFailed as fault:
        told[0] = str(fault)
    stored = [device.allocate(a.nbytes) for a in program.arrays]
    for memory, array in zip(stored, program.arrays, strict=True):
        memory.write(0, np.ascontiguousarray(array).view(np.uint8))
    chain = Chain(device)
    chain.dispatch(kernel, stored, program.params, program.groups)
    with chain.build() as built:
        try:
            built.run()
        except AssertionFailed as fault:
            told[1] = str(fault)
    assert told[0] == told[1], seed
    for buffer, memory, array in zip(kernel.ir.buffers, stored, want, strict=True):
        got = memory.read(0, array.nbytes).view(array.dtype)
        name = f"program {seed} with asserts on {device.name}, {buffer.name}"
        require_same(bits_of(got, buffer.dtype), bits_of(array, buffer.dtype), name)
    return told[0] != ""


@pytest.mark.needs("vectors")
def test_memory_after_faults(device: Any) -> None:
    failed = 0
    for seed in range(16):
        with environment(LOOM_SIMD=WIDTHS[seed % 4]):
            failed += _after_a_fault(seed, device)
    assert failed > 4


@pytest.mark.needs("threads")
def test_memory_after_faults_of_threads(device: Any) -> None:
    for seed in range(16, 22):
        _after_a_fault(seed, device)


@pytest.mark.slow
@pytest.mark.needs("vectors")
@pytest.mark.parametrize("first", range(22, 400, 54))
def test_memory_after_many_faults(first: int, device: Any) -> None:
    for seed in range(first, first + 54):
        for width in WIDTHS:
            with environment(LOOM_SIMD=width):
                _after_a_fault(seed, device)


def test_seeds_have_what_they_are_for() -> None:
    """Among the first programs is everything that the generator is to write; equal seeds give equal programs."""
    texts = [random_program(seed).source for seed in range(_FAST)]
    assert texts[7] == random_program(7).source
    text = "\n".join(texts)
    nodes = {type(n) for t in texts for n in ast.walk(ast.parse(t))}
    assert {ast.Break, ast.Continue, ast.Return, ast.While, ast.For, ast.IfExp, ast.And, ast.Or} <= nodes
    words = ["INF", "-INF", "1e-45", "5e-324", "3.4028234663852886e38", "bitcast(", "helper0(", "private(", "barrier()"]
    words += ["x_f16", "x_bf16", "f64(", "i8(", "u64(", "select(", " - 1.0", "0.0 /", "* -0.0", "4294967295 - i"]
    assert [w for w in words if w not in text] == []


def test_programs_compute_something() -> None:
    """Nearly all change most of what they own."""
    alive = 0
    for seed in range(_FAST):
        program, after = _expected(seed)
        alive += sum(not np.array_equal(a, b) for a, b in zip(program.arrays, after, strict=True)) >= 2
    assert alive > _FAST - 8
