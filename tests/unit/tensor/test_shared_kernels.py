"""Small expressions evaluated at once share kernels between shapes: one is compiled for many, with the same bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from loom import tensor
from loom.core.dtype import f32
from loom.ir.kernel import Access
from loom.kernels.maps import loops
from loom.kernels.maps.nest import Coordinate, Load, LoopNest, Store, apply_operation
from loom.schedules import maps
from loom.schedules.maps import LANES, THREADS, plan_strided

EXPRESSIONS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "broadcast": (lambda x: x + x[:1], lambda a: a + a[:1]),
    "column": (lambda x: x * x[..., :1], lambda a: a * a[..., :1]),
    "transposed": (lambda x: x.permute(tuple(range(x.ndim))[::-1]) + 1, lambda a: a.T + a.dtype.type(1)),
    "every second": (lambda x: x[..., ::2] - 0.5, lambda a: a[..., ::2] - a.dtype.type(0.5)),
    "reversed": (lambda x: x[::-1] + x, lambda a: a[::-1] + a),
    "reversed rows": (lambda x: x[..., ::-1] + x, lambda a: a[..., ::-1] + a),
    "every second, reversed": (lambda x: -x[::-2, ..., ::-2], lambda a: -a[::-2, ..., ::-2]),
    "neighbours": (lambda x: x[1:] - x[:-1], lambda a: a[1:] - a[:-1]),
    "joined": (lambda x: tensor.concat([x, x * 2], axis=1), lambda a: np.concatenate([a, a * 2], 1)),
    "triangle": (tensor.tril, np.tril),
    "a corner": (lambda x: x[1:, ..., 1:] + 1, lambda a: a[1:, ..., 1:] + a.dtype.type(1)),
    "coordinates": (lambda x: tensor.argwhere(x > 0), lambda a: np.argwhere(a > 0)),
}


def _shapes(count: int, seed: int, least: int = 2) -> list[tuple[int, ...]]:
    choose = np.random.default_rng(seed)
    return [tuple(int(n) for n in choose.integers(least, 9, choose.integers(2, 6))) for _ in range(count)]


def _numbers(shape: tuple[int, ...], seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[LoopNest]]:
    """Every nest that a kernel is written for, from now on."""
    made: list[LoopNest] = []

    def write(nest: LoopNest, cut: Any) -> Any:
        made.append(nest)
        return write_loops(nest, cut)

    write_loops = loops.write_loops
    monkeypatch.setattr(loops, "write_loops", write)
    maps._kernel.cache_clear()
    yield made
    maps._kernel.cache_clear()


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_elements_are_those_of_numpy(name: str, on: str) -> None:
    ours, theirs = EXPRESSIONS[name]
    for shape in _shapes(3 if on != "cpu" else 12, seed=len(name), least=1):
        a = _numbers(shape)
        found, expected = ours(tensor.asarray(a, on=on)).numpy(), theirs(a)
        assert found.shape == expected.shape
        assert found.tobytes() == expected.tobytes(), shape


def test_forty_shapes_take_a_few_kernels(written: list[LoopNest]) -> None:
    for name in ("broadcast", "transposed", "every second, reversed", "neighbours"):
        written.clear()
        for shape in _shapes(40, seed=5):
            EXPRESSIONS[name][0](tensor.asarray(_numbers(shape))).evaluate()
        assert 1 <= len(written) <= 12, name
        assert not any(all(nest.shape) for nest in written), name


def test_a_compiled_program_and_large_tensors_have_kernels_of_their_own(written: list[LoopNest]) -> None:
    x = tensor.input("x", (3, 5))
    tensor.compile([x + x[:1]], on="cpu")
    assert [nest.shape for nest in written] == [(3, 5)]
    written.clear()
    large = tensor.asarray(_numbers((300, 301)))
    (large + large[:1]).evaluate()
    assert [nest.shape for nest in written] == [(300, 301)]


@pytest.mark.parametrize("name", [n for n in EXPRESSIONS if n != "coordinates"])
def test_shared_kernels_give_the_bits_of_those_of_one_shape(name: str) -> None:
    for shape in _shapes(3, seed=7):
        a = _numbers(shape)
        x = tensor.input("x", shape)
        program = tensor.compile([tensor.exp(EXPRESSIONS[name][0](x))], on="cpu")
        program.run(x=a)
        assert tensor.exp(EXPRESSIONS[name][0](tensor.asarray(a))).numpy().tobytes() == program.read()[0].tobytes()


@pytest.mark.parametrize("lanes", [LANES, THREADS])
def test_nests_of_one_structure_are_one_kernel(lanes: int) -> None:
    def nest(shape: tuple[int, int, int], offset: int) -> LoopNest:
        _, m, n = shape
        values = (Load(0, offset, (1, 7 * n, -n)), Load(1, 0, (0, 0, 0)), Coordinate(1, f32),
                  apply_operation("add", (0, 1)), apply_operation("mul", (3, 2)))  # fmt: skip
        return LoopNest(shape, values, (Store(4, 2, 0, (m * n, n, 1)),),
                        ((f32, Access.READ), (f32, Access.READ), (f32, Access.WRITE)))  # fmt: skip

    first = plan_strided(nest((3, 4, 5), 90), lanes, is_passing=True)
    second = plan_strided(nest((6, 2, 9), 300), lanes, is_passing=True)
    assert first.kernel is second.kernel
    assert first.params != second.params
    assert plan_strided(nest((3, 4, 5), 90), lanes).kernel is not first.kernel


def test_divisors_are_told_where_little_is_divided(written: list[LoopNest]) -> None:
    counts: list[int] = []
    for size, divisors in ((100, (3, 5, 11)), (10_000, (3, 5, 11))):
        for divisor in divisors:
            found = tensor.asarray(np.arange(size, dtype=np.int32)) // divisor
            assert found.tolist() == [n // divisor for n in range(size)]
            counts.append(len(written))
    assert counts[0] == counts[1] == counts[2] < counts[3] < counts[4] < counts[5]
