"""Random records: what is fused and planned has the bits of every operation computed by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from loom import tensor
from loom.tensor import Tensor

_SHAPES = [(4, 6), (4, 6), (1, 6), (4, 1), (6,), ()]
_STEPS: list[tuple[int, Callable[..., Tensor]]] = [
    (2, lambda a, b: a + b),
    (2, lambda a, b: a * b),
    (2, lambda a, b: tensor.where(a > b, a, b * 0.5)),
    (1, lambda a: a.sigmoid()),
    (1, lambda a: a.relu() - 0.25),
    (1, lambda a: a.sum(-1, keepdims=True) if a.ndim else a),
    (1, lambda a: a.max(0, keepdims=True) if a.ndim else a),
    (1, lambda a: a.T.reshape(a.shape) if a.ndim == 2 else a * 2),
    (1, lambda a: tensor.reverse(a) + 1 if a.ndim else a),
    (1, lambda a: a.broadcast_to((4, 6)) @ tensor.ones((6, 6))),
]
_JOINS: list[tuple[int, Callable[..., Tensor]]] = [
    (2, lambda a, b: tensor.concat([a.broadcast_to((4, 6)), b.broadcast_to((4, 6)), a.broadcast_to((4, 6))])[2:10:2]),
    (2, lambda a, b: tensor.stack([(a - b).broadcast_to((4, 6)), a.broadcast_to((4, 6))], 1).reshape(8, 6)[3:7]),
]


def _record(seed: int, sources: list[Tensor], each: Callable[[Tensor], Any], steps: Any = _STEPS) -> list[Tensor]:
    """Return the tensors of a random record; ``each`` sees every one when it is made."""
    rng = np.random.default_rng(seed)
    made = list(sources)
    for _ in range(24):
        count, fn = steps[rng.integers(len(steps))]
        made.append(fn(*(made[-1 - int(rng.integers(min(len(made), 8)))] for _ in range(count))))
        each(made[-1])
    return made


def _bits(arrays: list[np.ndarray[Any, Any]]) -> list[tuple[tuple[int, ...], bytes]]:
    return [(a.shape, a.tobytes()) for a in arrays]


@pytest.mark.parametrize("seed", range(6))
def test_fused_records_have_the_bits_of_single_operations(seed: int) -> None:
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(size=shape).astype(np.float32) for shape in _SHAPES]
    single = _record(seed, [tensor.array(a, on="cpu") for a in arrays], Tensor.evaluate)
    parameters = [tensor.parameter(a, on="cpu") for a in arrays]
    whole = _record(seed, parameters, lambda _: None)
    ends = [21, 25, 28, 29]
    targets = [k for k in range(18, 30) if whole[k].shape == (4, 6)][:2]
    updates = [(p, whole[k]) for p, k in zip(parameters, targets, strict=False)]
    program = tensor.compile([whole[k] for k in ends], updates)
    assert program.dispatches < 24
    program.run()
    assert _bits(program.read()) == _bits([single[k].numpy() for k in ends])
    assert _bits([p.numpy() for p, _ in updates]) == _bits([single[k].numpy() for k in targets])


@pytest.mark.parametrize("seed", range(4))
def test_joined_records_have_the_bits_of_single_operations(seed: int) -> None:
    rng = np.random.default_rng(seed)
    arrays = [rng.normal(size=shape).astype(np.float32) for shape in _SHAPES]
    steps = [*_STEPS, *_JOINS, *_JOINS]
    single = _record(seed, [tensor.array(a, on="interp") for a in arrays], Tensor.evaluate, steps)
    whole = _record(seed, [tensor.array(a, on="interp") for a in arrays], lambda _: None, steps)
    program = tensor.compile(whole[18:])
    program.run()
    assert _bits(program.read()) == _bits([x.numpy() for x in single[18:]])


def test_what_is_joined_is_written_in_its_place_by_what_makes_it() -> None:
    x = tensor.array(np.arange(12, dtype=np.float32).reshape(3, 4), on="cpu")
    twice = x * 2
    joined = tensor.stack([twice, twice + 1, twice - 3], 1)
    program = tensor.compile([joined])
    program.run()
    assert program.dispatches == 1
    whole = np.arange(12.0).reshape(3, 4)
    assert program.read()[0].tolist() == np.stack([whole * 2, whole * 2 + 1, whole * 2 - 3], 1).tolist()


def test_dense_copies_and_numbers_where_kernels_need_packed_memory() -> None:
    x = tensor.array(np.arange(12, dtype=np.float32).reshape(3, 4), on="cpu")
    assert (x[:, ::2] @ tensor.full((2, 2), 2)).tolist() == [[4, 4], [20, 20], [36, 36]]
    assert tensor.arange(4).sum().item() == 6
    assert tensor.transpose(tensor.arange(6).reshape(2, 3)).reshape(6).tolist() == [0, 3, 1, 4, 2, 5]
    assert (tensor.arange(3).reshape(3, 1) * tensor.arange(2)).tolist() == [[0, 0], [0, 1], [0, 2]]
