"""Contractions against ``numpy.einsum``, and the order of theirs against all orders there are."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from loom import tensor
from loom.core.errors import ArgumentError, ShapeError
from loom.tensor.ops.contraction import MOST_SEARCHED, contraction_order

_CASES: list[tuple[str, list[tuple[int, ...]]]] = [
    ("ii", [(3, 3)]), ("ii->i", [(3, 3)]), ("iij->j", [(3, 3, 2)]), ("iii->i", [(3, 3, 3)]), ("ji", [(2, 3)]),
    ("iijj->ij", [(2, 2, 3, 3)]), ("ij->", [(2, 3)]), ("...->...", [(2, 3)]), ("i...->...", [(2, 3)]), ("", [()]),
    ("ij,jk", [(2, 3), (3, 4)]), ("i,j->ji", [(3,), (4,)]), ("i,i->i", [(4,), (4,)]), (",ij->ij", [(), (2, 3)]),
    ("ij, jk", [(2, 1), (3, 4)]), ("ij,kj->ki", [(0, 3), (2, 3)]), ("ij,jk->ik", [(2, 0), (0, 3)]),
    ("...ij,...jk->...ik", [(5, 1, 2, 3), (4, 3, 2)]), ("...i,...i->...", [(2, 3), (4, 1, 3)]),
    ("i...,j->...j", [(2, 3, 2), (3,)]), ("ijk,ijk->jk", [(2, 3, 4), (2, 3, 4)]), ("ii,ij->j", [(3, 3), (3, 2)]),
    ("bi,bj->bij", [(2, 3), (2, 4)]), ("ij,i->ij", [(2, 3), (2,)]), ("i,j,k->", [(2,), (3,), (4,)]),
    ("ij,jk,kl->il", [(2, 3), (3, 4), (4, 5)]), ("aij,bij,cij->abc", [(2, 3, 4), (3, 3, 4), (2, 3, 4)]),
    ("ab,bc,cd,de,ef,fg,gh,hi,ij->aj", [(2, 3), (3, 2)] * 4 + [(2, 3)]),
    ("...ij,...jk,ik->...", [(2, 2, 3), (3, 4), (2, 4)]),
]  # fmt: skip


def _whole(seed: int, shapes: list[tuple[int, ...]], kind: str) -> list[np.ndarray[Any, Any]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(-4, 5, shape).astype(kind) for shape in shapes]


@pytest.mark.parametrize(("subscripts", "shapes"), _CASES)
def test_contractions(subscripts: str, shapes: list[tuple[int, ...]]) -> None:
    for kind in ("f8", "i4"):
        arrays = _whole(len(subscripts), shapes, kind)
        found = tensor.einsum(subscripts, *(tensor.array(a, on="cpu") for a in arrays)).numpy()
        wanted = np.einsum(subscripts, *arrays)
        assert found.shape == wanted.shape
        assert np.array_equal(found, wanted)


def test_small_integers_widen_and_types_meet(on: str) -> None:
    a = tensor.array([[100, 100], [100, 100]], "i8", on=on)
    for subscripts in ("ij,jk->ik", "ij,ij->ij"):
        made = tensor.einsum(subscripts, a, a)
        assert (str(made.dtype), made.tolist()[0][0] % 10_000) == ("i32", 0)
    assert str(tensor.einsum("ij,jk", a, a.astype("f32")).dtype) == "f32"


def _cost(inputs: tuple[tuple[str, ...], ...], output: tuple[str, ...], sizes: dict[str, int], steps: Any) -> int:
    """Count multiplications; what one operand alone has is summed over first."""
    left, total = [set(own) for own in inputs], 0
    left = [own & set(output).union(*(s for s in left if s is not own)) for own in left]
    for a, b in steps:
        others = set(output).union(*(s for k, s in enumerate(left) if k not in (a, b)))
        total += math.prod(sizes[c] for c in left[a] | left[b])
        left[a] = (left[a] | left[b]) & others
        del left[b]
    return total


def _all_orders(count: int) -> Any:
    if count == 1:
        yield ()
        return
    for pair in itertools.combinations(range(count), 2):
        for rest in _all_orders(count - 1):
            yield (pair, *rest)


@pytest.mark.parametrize("seed", range(12))
def test_the_order_is_the_cheapest(seed: int) -> None:
    rng = np.random.default_rng(seed)
    letters = "abcdef"
    sizes = {c: int(rng.integers(1, 9)) for c in letters}
    inputs = tuple(tuple(rng.permutation(list(letters))[: rng.integers(1, 4)].tolist()) for _ in range(4))
    known = sorted({c for own in inputs for c in own})
    output = tuple(known[:2])
    found = contraction_order(inputs, output, tuple((c, sizes[c]) for c in known))
    least = min(_cost(inputs, output, sizes, steps) for steps in _all_orders(4))
    assert _cost(inputs, output, sizes, found) == least


def test_of_orders_as_cheap_the_one_from_the_left_is_taken() -> None:
    inputs = (("a", "b"), ("b", "c"), ("c", "d"), ("d", "e"))
    sizes = tuple((c, 4) for c in "abcde")
    assert contraction_order(inputs, ("a", "e"), sizes) == ((0, 1),) * 3
    many = tuple((chr(97 + k), chr(98 + k)) for k in range(MOST_SEARCHED + 2))
    lengths = tuple((chr(97 + k), 2) for k in range(MOST_SEARCHED + 3))
    assert len(contraction_order(many, ("a",), lengths)) == MOST_SEARCHED + 1


@pytest.mark.parametrize(
    ("subscripts", "shapes", "error", "text"),
    [
        ("ij,jk", [(2, 3)], ArgumentError, r"not one part for each operand: expected 1 parts"),
        ("i%->i", [(2, 3)], ArgumentError, r"unusable subscripts: 'i%'"),
        ("ij->ijk", [(2, 3)], ArgumentError, r"unusable subscripts: the result"),
        ("ij->ii", [(2, 3)], ArgumentError, r"unusable subscripts: the result"),
        ("ijk", [(2, 3)], ShapeError, r"the shapes do not fit 'ijk': expected 3 axes for 'ijk', got 2"),
        ("ii", [(2, 3)], ShapeError, r"the shapes do not fit 'ii': expected one length per letter"),
        ("ij,jk", [(2, 3), (4, 2)], ShapeError, r"expected one length per letter, or 1"),
    ],
)
def test_errors(subscripts: str, shapes: list[tuple[int, ...]], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        tensor.einsum(subscripts, *(tensor.array(a) for a in _whole(1, shapes, "f8")))
