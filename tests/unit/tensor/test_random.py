"""Recorded random numbers: those of ``loom.random``, others in every run, and their distributions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import loom
from loom import tensor
from loom.core.errors import ArgumentError, DTypeError
from loom.tensor import random

_SEED, _STREAM = 0xFEDC_BA98_7654_3210, 5
_SAME: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    **{f"uniform {t}": (lambda n, t=t, **o: random.uniform((n,), -2, 3, dtype=t, **o),
                        lambda n, t=t, **o: loom.random.uniform(n, low=-2, high=3, dtype=t, **o))
       for t in ("f16", "bf16", "f32", "f64")},
    **{f"normal {t}": (lambda n, t=t, **o: random.normal((n,), 1.5, 2, dtype=t, **o),
                       lambda n, t=t, **o: loom.random.normal(n, mean=1.5, std=2, dtype=t, **o))
       for t in ("f16", "bf16", "f32", "f64")},
    **{f"integers {t}": (lambda n, t=t, **o: random.randint(3, 99, (n,), dtype=t, **o),
                         lambda n, t=t, **o: loom.random.integers(n, 3, 99, dtype=t, **o))
       for t in ("i8", "u32", "i64")},
    "all integers": (lambda n, **o: random.randint(-(2**63), 2**63, (n,), **o),
                     lambda n, **o: loom.random.integers(n, -(2**63), 2**63, **o)),
    "bits": (lambda n, **o: random.bits((n,), dtype="u64", **o), lambda n, **o: loom.random.bits(n, dtype="u64", **o)),
    "bernoulli": (lambda n, **o: random.bernoulli(0.3, (n,), **o), lambda n, **o: loom.random.bernoulli(n, 0.3, **o)),
    "permutation": (random.permutation, loom.random.permutation),
}  # fmt: skip


@pytest.mark.parametrize("name", _SAME)
def test_numbers_are_those_of_the_patterns(name: str, on: str) -> None:
    ours, theirs = _SAME[name]
    for n in (1, 7, 300):
        found = ours(n, seed=_SEED, stream=_STREAM, on=on).host_elements()[0]
        wanted = tensor.array(theirs(n, seed=_SEED, stream=_STREAM, like=loom.array(np.zeros(1)))).host_elements()[0]
        assert found.tobytes() == wanted.tobytes()


def test_every_run_draws_anew(on: str) -> None:
    generator = random.Generator(7, on=on)
    drawn = [random.uniform((4,), generator=generator), random.uniform((4,), generator=generator)]
    program = tensor.compile(drawn)
    seen = set()
    for _ in range(3):
        program.run()
        seen |= {tuple(a.tolist()) for a in program.read()}
    assert (len(seen), generator.step.tolist()) == (6, [3])
    again = random.Generator(7, on=on)
    same = tensor.compile([random.uniform((4,), generator=again), random.uniform((4,), generator=again)])
    same.run()
    assert tuple(same.read()[0].tolist()) in seen
    step = tensor.input("step", (), "i32")
    fed = tensor.compile([random.normal((3,), seed=1, step=step, on=on)])
    found = []
    for at in (0, 1, 0):
        fed.run(step=at)
        found.append(fed.read()[0].tolist())
    assert found[0] == found[2] != found[1]
    assert found[0] == loom.random.normal(3, seed=1).tolist()


def test_draws_of_one_generator_differ_without_programs() -> None:
    generator = random.Generator(3)
    first, second = (random.normal((5,), generator=generator).tolist() for _ in range(2))
    assert first != second
    assert random.normal((5,), generator=random.Generator(3)).tolist() == first


def test_distributions() -> None:
    n = 20_000
    e = random.exponential((n,), 4.0, seed=1).numpy()
    assert abs(e.mean() - 0.25) < 0.25 * 4 / n**0.5
    assert abs((e < np.log(2) / 4).mean() - 0.5) < 2 / n**0.5
    weights = tensor.array([[1.0, 0.0, 3.0], [2.0, 2.0, 0.0]])
    many = random.multinomial(weights, n, replacement=True, seed=2).numpy()
    assert abs((many[0] == 2).mean() - 0.75) < 2 / n**0.5
    assert set(many[0]) == {0, 2}
    assert set(many[1]) == {0, 1}
    rows = tensor.broadcast_to(tensor.array([1.0, 2.0, 5.0, 0.0]), (n, 4))
    picked = random.multinomial(rows, 2, seed=3).numpy()
    assert (picked[:, 0] != picked[:, 1]).all()
    assert (picked < 3).all()
    assert abs((picked[:, 0] == 2).mean() - 5 / 8) < 2 / n**0.5
    assert abs(((picked == 0).any(1)).mean() - (1 / 8 + 2 / 8 / 6 + 5 / 8 / 3)) < 2 / n**0.5


def test_dropout_and_shuffle() -> None:
    x = tensor.parameter(np.ones(4000, np.float32))
    y = random.dropout(x, 0.25, seed=1)
    assert set(y.tolist()) == {0.0, np.float32(4 / 3)}
    assert abs(float((y == 0).astype("f32").mean()) - 0.25) < 0.03
    assert np.array_equal(tensor.grad(y.sum(), [x])[0].numpy(), y.numpy())
    assert random.dropout(x, 0.25, training=False) is x
    assert random.dropout(x, 1.0, seed=1).sum().item() == 0
    data = np.arange(12).reshape(3, 4)
    shuffled = random.shuffle(tensor.array(data), 1, seed=4).numpy()
    assert not np.array_equal(shuffled, data)
    assert np.array_equal(np.sort(shuffled, 1), data)


def test_gradients_reach_the_moments() -> None:
    mean, std = tensor.parameter(np.zeros(3, np.float32)), tensor.parameter(np.ones(3, np.float32))
    y = random.normal((3,), mean, std, seed=5)
    of_mean, of_std = tensor.grad(y.sum(), [mean, std])
    assert of_mean.tolist() == [1.0] * 3
    assert of_std.tolist() == random.normal((3,), seed=5).tolist()


@pytest.mark.parametrize(
    ("fn", "error", "text"),
    [
        (lambda: random.uniform((2,)), ArgumentError, "no numbers without a seed"),
        (lambda: random.uniform((2,), seed=1, generator=random.Generator(1)), ArgumentError, "a seed and a generator"),
        (lambda: random.uniform((2,), 3, 1, seed=1), ArgumentError, "no range"),
        (lambda: random.normal((2,), 0, -1, seed=1), ArgumentError, "negative std"),
        (lambda: random.normal((2,), dtype="i32", seed=1), DTypeError, "unsupported dtype: expected floats"),
        (lambda: random.randint(5, 5, seed=1), ArgumentError, "no range"),
        (lambda: random.bernoulli(1.5, (2,), seed=1), ArgumentError, "0 to 1"),
        (lambda: random.normal((2,), seed=1, step=tensor.zeros((2,))), ArgumentError, "not one integer"),
        (lambda: random.multinomial(tensor.ones((3,)), 4, seed=1), ArgumentError, "count"),
        (lambda: random.Generator(-1), ArgumentError, "seed"),
    ],
)
def test_errors(fn: Callable[[], Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        fn()
