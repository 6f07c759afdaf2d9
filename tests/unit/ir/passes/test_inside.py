"""Accesses that are proved inside are inside: the interpreter, which watches, finds none of them outside."""

from __future__ import annotations

import linecache
import random
from typing import Any

import numpy as np
import pytest

import conformance.cases  # noqa: F401 (registers them)
import loom
from bench.programs import blur, histogram, kmeans, levenshtein, life, nbody, sha256, stencil, transpose
from conformance.cases.language.random_kernels import FAST_SEEDS
from conformance.running import load_case
from loom import In, InOut, Out, f32, i32, i64, u8, u32
from loom.core.errors import OutOfBounds
from loom.ir.interp import interpret
from loom.ir.interp.options import Options
from loom.ir.kernel import Instr, Kernel, Memory, walk
from loom.ir.passes.inside import Launch, Proof, Prover
from loom.ir.passes.ranges import ARITHMETIC, trim
from loom.ir.verify import verify
from unit.ir.passes.attack_kernels import attack_kernel

Sizes = list[int]


def proved(kernel: Kernel, lengths: Sizes, params: Sizes, groups: tuple[int, int, int]) -> bool:
    given = {p: (int(v), int(v)) for p, v in zip(kernel.params, params, strict=True) if p.dtype.is_integer}
    return Proof(kernel).stays_inside(Launch(groups, given, dict(zip(kernel.buffers, lengths, strict=True))))


def goes_outside(kernel: Kernel, lengths: Sizes, params: Sizes, groups: tuple[int, int, int]) -> bool:
    """Run a kernel where every access is watched, on numbers of any kind."""
    rng = np.random.default_rng(len(lengths))
    arrays = [
        rng.integers(0, 256, n * m.dtype.nbytes, np.uint8).view(m.dtype.scalar.numpy)
        for n, m in zip(lengths, kernel.buffers, strict=True)
    ]
    try:
        interpret(kernel, arrays, params, groups, options=Options(bounds=True), output=lambda _line: None)
    except OutOfBounds:
        return True
    return False


@loom.kernel(workgroup=8)
def strides(x: InOut[u32], n: u32):
    for i in range(loom.global_id(), n, loom.num_groups() * 8):
        x[i] += 1


@loom.kernel(workgroup=8)
def turns(x: InOut[i32], n: i32):
    i = i32(loom.local_id())
    while i + 1 < n:
        x[i + 1] = x[i]
        i += 8
        if x[0] == 7:
            break


@loom.kernel(workgroup=8)
def downward(x: InOut[i64], n: i64):
    for i in range(n - 1, -1, -1):
        if i % 8 != i64(loom.local_id()):
            continue
        x[i] = i // 3


@loom.kernel(workgroup=8)
def shifted(x: In[u8], y: Out[u32], n: u32):
    i = loom.global_id()
    if i >= n:
        return
    table = loom.private(u32, 16)
    for k in range(u32(16)):
        table[k] = k
    y[i] = table[u32(x[i]) >> 4] + table[u32(x[i]) & 15] + table[loom.select(i < 16, i, u32(0))]


@loom.kernel(workgroup=8)
def wrapping(x: In[f32], y: Out[f32], n: u32):
    i = loom.global_id()
    if i < n:
        y[i] = x[i - 1] if i > 1 or n == 1 else x[n - i]


def drawn(rng: random.Random) -> list[tuple[Any, Sizes, Sizes, tuple[int, int, int]]]:
    """Return programs with sizes that fit, or nearly do."""
    w, h, n = rng.randint(1, 20), rng.randint(1, 20), rng.randint(1, 40)
    plane, near = (-(-w // 16), -(-h // 16), 1), lambda size: max(0, size + rng.choice((0, 0, 0, 1, -1)))
    lines = -(-n // 64)
    d = rng.randint(0, 2 * n)
    low = max(0, d - n + 1)
    return [
        (stencil.first, [near(w * h), near(w * h)], [w, h], plane),
        (life.first, [near(w * h), near(w * h)], [w, h], plane),
        (life.remainder, [near(w * h), near(w * h)], [w, h], plane),
        (blur.first, [near(w * h), near(w * h)], [w, h], plane),
        (transpose.first, [near(w * h), near(w * h)], [h, w], (2, 2, 1)),
        (nbody.first, [near(n), near(n)], [n], (lines, 1, 1)),
        (sha256.first, [near(n * 16), near(n * 8)], [n], (lines, 1, 1)),
        (levenshtein.first, [*(near(n) - 1 for _ in "ab"), near(n), near(n), near(n)], [d, low, n], (lines, 1, 1)),
        (kmeans.first, [near(n)] * 2 + [near(16)] * 2 + [near(n), near(48)], [rng.randint(0, 17)], (1, 1, 1)),
        (histogram.first, [near(n * 9), near(256)], [], (2, 1, 1)),
        (strides, [near(n)], [n], (2, 1, 1)),
        (turns, [near(n)], [n], (1, 1, 1)),
        (downward, [near(n)], [n], (1, 1, 1)),
        (shifted, [near(n), near(n)], [n], (-(-n // 8), 1, 1)),
        (wrapping, [near(n), near(n)], [n], (-(-n // 8), 1, 1)),
    ]


@pytest.mark.parametrize("seed", range(3))
def test_what_is_proved_is_true(seed: int) -> None:
    rng, found = random.Random(seed), dict[str, set[bool]]()
    for _ in range(4):
        for kernel, lengths, params, groups in drawn(rng):
            if min(lengths) < 0:
                continue
            ir = kernel.verified.kernel
            answer = proved(ir, lengths, params, groups)
            assert not (answer and goes_outside(ir, lengths, params, groups)), (ir.name, lengths, params)
            found.setdefault(f"{kernel.fn.__module__}.{ir.name}", set()).add(answer)
    assert sum(answers == {True, False} for answers in found.values()) >= 3, "both answers come up"


@pytest.mark.parametrize(
    ("kernel", "lengths", "params", "groups"),
    [
        (stencil.first, [35 * 20] * 2, [35, 20], (3, 2, 1)),
        (life.first, [35 * 20] * 2, [35, 20], (3, 2, 1)),
        (blur.first, [35 * 20] * 2, [35, 20], (3, 2, 1)),
        (transpose.first, [35 * 20] * 2, [20, 35], (3, 2, 1)),
        (nbody.first, [100] * 2, [100], (2, 1, 1)),
        (sha256.first, [1600, 800], [100], (2, 1, 1)),
        (levenshtein.first, [99, 99, 99, 100, 100], [110, 11, 100], (2, 1, 1)),
        (kmeans.first, [600, 600, 16, 16, 600, 48], [16], (3, 1, 1)),
        (histogram.first, [5000, 256], [], (4, 1, 1)),
        (strides, [100], [100], (4, 1, 1)),
        (turns, [100], [100], (1, 1, 1)),
        (downward, [100], [100], (1, 1, 1)),
        (shifted, [100, 100], [100], (13, 1, 1)),
    ],
)
def test_programs_are_proved_and_no_array_may_be_shorter(
    kernel: Any, lengths: Sizes, params: Sizes, groups: Any
) -> None:
    ir = kernel.verified.kernel
    assert proved(ir, lengths, params, groups)
    guards = {s.memory for s in walk(ir.body) if isinstance(s, Instr) and s.name == "length"}
    for at, memory in enumerate(ir.buffers):
        less = [n - (i == at) for i, n in enumerate(lengths)]
        if memory not in guards:  # of which fewer lanes do something
            assert not proved(ir, less, params, groups), memory.name


def test_more_lanes_or_larger_numbers_are_another_question() -> None:
    assert proved(nbody.first.verified.kernel, [64, 64], [64], (1, 1, 1))
    assert not proved(nbody.first.verified.kernel, [64, 64], [65], (2, 1, 1))
    assert proved(histogram.clear.verified.kernel, [512], [], (2, 1, 1))
    assert not proved(histogram.clear.verified.kernel, [512], [], (3, 1, 1))


def test_random_kernels_do_what_was_proved() -> None:
    count = 0
    for seed in FAST_SEEDS:
        case = load_case(f"random/{seed}")
        sizes = [len(b) // m.dtype.lanes for b, m in zip(case.buffers, case.kernel.buffers, strict=True)]
        if proved(case.kernel, sizes, list(case.params), case.groups):
            count += 1
            arrays = [b.copy() for b in case.buffers]
            interpret(case.kernel, arrays, case.params, case.groups, options=Options(bounds=True), output=str)
    assert count > 0


@pytest.mark.parametrize("name", sorted(set(ARITHMETIC) - {"convert", "bitcast", "popcount", "clz"}))
def test_ranges_hold_every_result(name: str) -> None:
    """All pairs of a small type: the range of the operation's operands holds what it gives for each of them."""
    from loom.core.dtype import i8
    from loom.ir.ops import OPS

    rng, op = random.Random(name), OPS[name]
    for dtype in (i8, u8):
        for _ in range(60):
            ends = [sorted(rng.choices(range(dtype.minimum, dtype.maximum + 1), k=2)) for _ in range(op.arity)]
            if name in ("shl", "shr"):
                ends[1] = [rng.randint(0, 7)] * 2
            each = np.meshgrid(*(np.arange(a, b + 1).astype(dtype.numpy) for a, b in ends))
            assert op.evaluate is not None
            with np.errstate(all="ignore"):
                results = op.evaluate(*(e.ravel() for e in each))
            low, high = trim(ARITHMETIC[name](*map(tuple, ends)), dtype)
            assert low <= int(results.min()) <= int(results.max()) <= high, (dtype, ends)


class _Furthest(Prover):
    """Notes the largest index of each array."""

    def __init__(self, proof: Proof, launch: Launch) -> None:
        super().__init__(proof, launch)
        self.needed = dict.fromkeys(launch.lengths, 0)

    def access(self, s: Instr, memory: Memory) -> None:
        super().access(s, memory)
        if not self.quiet and memory in self.needed:
            self.needed[memory] = max(self.needed[memory], self.range(s.args[0])[1] + 1)


def shortest(proof: Proof, launch: Launch) -> Launch | None:
    """Return a launch that is proved over arrays as short as can be; None if it is not proved over long ones."""
    if not proof.stays_inside(launch):
        return None
    for _ in range(2):
        prover = _Furthest(proof, launch)
        prover.block(proof.kernel.body)
        less = Launch(launch.groups, launch.params, prover.needed)
        launch = less if proof.stays_inside(less) else launch
    return launch


@pytest.mark.parametrize(
    ("first", "count"),
    [(480, 60), (820, 60), *(pytest.param(n, 250, marks=pytest.mark.slow) for n in range(1000, 8000, 250))],
)
def test_no_kernel_made_to_deceive_is_proved_wrongly(first: int, count: int) -> None:
    found = 0
    for seed in range(first, first + count):
        kernel, rng, numbers = verify(attack_kernel(seed)).kernel, random.Random(seed), np.random.default_rng(seed)
        groups = rng.choice([1, 2, 3]), rng.choice([1, 1, 2]), rng.choice([1, 1, 2])
        params = [rng.choice([0, 1, 3, 5, 8, p.dtype.maximum, p.dtype.minimum]) for p in kernel.params]
        given = {p: (v, v) for p, v in zip(kernel.params, params, strict=True)}
        launch = shortest(Proof(kernel), Launch(groups, given, dict.fromkeys(kernel.buffers, 70_000)))
        if launch is None:
            continue
        arrays: list[Any] = []
        for memory, size in launch.lengths.items():
            kind = memory.dtype
            if kind.is_float:
                arrays.append(np.zeros(size * kind.lanes, np.float32))
                continue
            whole = numbers.integers(kind.minimum, kind.maximum, size, kind.numpy, endpoint=True)
            small = numbers.integers(max(kind.minimum, -4), 20, size).astype(kind.numpy)
            arrays.append(np.where(numbers.random(size) < 0.5, whole, small))
        found += 1
        interpret(kernel, arrays, params, groups, options=Options(bounds=True), output=str)
    assert found > 10


@loom.kernel(workgroup=8)
def asked_early(j: In[u32], x: InOut[u32], n: u32, m: u32):
    i = loom.global_id()
    k = j[i % 8]
    first, second = i < n, k < m
    both = first
    if both:  # of which only the first holds here
        loom.atomic_add(x, k, 1)
    if first:
        both = second


@loom.kernel(workgroup=8)
def asked_a_turn_later(j: In[u32], x: InOut[u32], n: u32, m: u32):
    i = loom.global_id()
    first = i < n
    both = first
    for t in range(u32(4)):
        if not both:
            break
        k = j[(i + t) % 8]
        loom.atomic_add(x, k, 1)
        if first:
            both = k < m


@pytest.mark.parametrize("kernel", [asked_early, asked_a_turn_later])
def test_a_variable_tells_of_its_second_condition_only_behind_it(kernel: Any) -> None:
    assert not proved(kernel.verified.kernel, [8, 8], [8, 8], (1, 1, 1))


def test_choices_in_one_another_are_looked_at_in_little_time() -> None:
    lines = [f"    v{n + 1} = v{n} - 1 if v{n} > {n + 10} else v{n} + 1" for n in range(30)]
    text = "\n".join(["def chosen(x: InOut[u32]):", "    v0 = u32(loom.global_id())", *lines, "    if v30 < len(x):",
                      "        x[v30] = 1"])  # fmt: skip
    scope: dict[str, Any] = {"InOut": InOut, "u32": u32, "loom": loom}
    linecache.cache["<chosen>"] = (len(text), None, text.splitlines(keepends=True), "<chosen>")
    exec(compile(text, "<chosen>", "exec"), scope)
    assert proved(loom.kernel(scope["chosen"]).verified.kernel, [8], [], (1, 1, 1))
