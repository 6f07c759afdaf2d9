"""Symbols compute as plain numbers do, and their expressions give the same at any values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from loom import tensor
from loom.core.numbers import Setting, Size, evaluate, expression_of, is_symbolic, lower, root, single

NAMES = ("a", "b", "c")


def _drawn(steps: list[tuple[str, int, int]], values: tuple[int, ...], symbolic: bool) -> Any:
    """Return the last of numbers made one after the other, of symbols or of plain numbers."""
    made: list[Any] = [Size(v, ("symbol", n)) if symbolic else v for n, v in zip(NAMES, values, strict=True)]
    made += [1, 3]
    for operation, i, k in steps:
        x, y = made[i % len(made)], made[k % len(made)]
        if operation == "add":
            made.append(x + y)
        elif operation == "mul":
            made.append(x * y if max(x, y) < 1e4 else x)
        elif operation == "floordiv":
            made.append((x + y) // y)
        elif operation == "prod":
            made.append(math.prod((x, y)) if max(x, y) < 1e4 else y)
        else:
            made.append(lower(x, y))
    return made[-1]


OPERATIONS = ("add", "mul", "floordiv", "prod", "lower")


def test_an_expression_tells_the_number_at_other_values() -> None:
    rng = np.random.default_rng(1)
    for _ in range(300):
        steps = [(str(rng.choice(OPERATIONS)), *map(int, rng.integers(0, 10, 2))) for _ in range(rng.integers(1, 7))]
        recorded, others = (tuple(map(int, rng.integers(1, 501, 3))) for _ in range(2))
        found = _drawn(steps, recorded, symbolic=True)
        assert found == _drawn(steps, recorded, symbolic=False)
        assert evaluate(expression_of(found), dict(zip(NAMES, recorded, strict=True))) == found
        if not {name for name, _, _ in steps} & {"mul", "prod"}:  # those chose by values above
            wanted = _drawn(steps, others, symbolic=False)
            assert evaluate(expression_of(found), dict(zip(NAMES, others, strict=True))) == wanted


@pytest.mark.parametrize("rate", [2.0**-10, 0.1, 1 / 3, 0.5, 0.999])
def test_settings_are_rounded_as_numbers_are(rate: float) -> None:
    symbol = Setting(rate, ("symbol", "rate"))
    told = (1 - symbol, single(symbol), 1.0 - single(symbol), root(6.0 / symbol), round(symbol * 2.0**32))
    plain = (
        1 - rate,
        float(np.float32(rate)),
        1.0 - float(np.float32(rate)),
        math.sqrt(6.0 / rate),
        round(rate * 2**32),
    )
    assert [*map(float, told)] == [*map(float, plain)]
    assert [evaluate(expression_of(each), {"rate": rate}) for each in told] == [*map(float, plain)]


@pytest.mark.parametrize("shape", [(3, 4), (), (1,)])
def test_plain_shapes_are_no_symbols(shape: tuple[int, ...]) -> None:
    assert not is_symbolic(shape)


def test_a_recorded_shape_keeps_its_expressions() -> None:
    rows, columns = Size(307, ("symbol", "rows")), Size(311, ("symbol", "columns"))
    x, w = tensor.input("x", (rows, columns)), tensor.input("w", (columns, 7))
    y = (x @ w + 1.0).mean(1)
    assert is_symbolic(y.shape)
    grads = tensor.grad(y, [w, x], seed=tensor.input("g", y.shape))
    assert [list(map(expression_of, g.shape)) for g in grads] == [
        [("symbol", "columns"), ("number", 7)], [("symbol", "rows"), ("symbol", "columns")],
    ]  # fmt: skip
    again = tensor.input("x", (307, 311))
    assert not is_symbolic((again + 1.0).sum(0).shape)  # nothing kept by shapes knows of the expressions
