"""``einsum``: contractions as batched matrix products, in the cheapest order.

Layer: tensor. The order is part of what is computed, since it decides how sums round: with up to ``MOST_SEARCHED``
operands the one of fewest multiplications, of several the one nearest to left to right; with more the cheapest pair
next, of several the first. Invariant: the order depends on subscripts and shapes alone.

Source of the greedy rule: D. G. A. Smith and J. Gray, "opt_einsum" (Journal of Open Source Software, 2018).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations
from typing import Any

from loom.core.errors import ArgumentError, ShapeError
from loom.core.given import text
from loom.core.promotion import promote
from loom.kernels.types import PRODUCTS
from loom.tensor.ops.elementwise import apply, cast
from loom.tensor.ops.products import matmul
from loom.tensor.ops.reductions import sum_of
from loom.tensor.ops.views import broadcast_to, permute, reshape, take_slices
from loom.tensor.record.graph import NodeT, require_tensor

__all__ = ["MOST_SEARCHED", "contraction_order", "einsum"]

MOST_SEARCHED = 8
"""Operands for which every order is looked at."""

Labels = tuple[str, ...]
"""A letter for each axis; axes of an ellipsis are called '.0', '.1' .. from the last one on."""


def einsum(subscripts: str, *operands: NodeT) -> NodeT:
    """Return the contraction that ``subscripts`` tells ("bik,bkj->bij"), as ``numpy.einsum``.

    "..." stands for axes that broadcast; a letter twice in an operand is its diagonal; without "->" the result has the
    axes of "..." and the letters that occur once, in alphabetical order. Axes of length 1 are repeated.

    Two operands are joined at a time: a sum over axes that one of them alone has, then a batched matrix product over
    those that they share (element by element if there are none). Up to 8 operands are joined in the order of fewest
    multiplications (of several, nearest to left to right), more by taking the cheapest pair each time. Types meet as
    operands of + do, and products of small integers have 32 bits, as those of ``gpu_matmul``; sums of a single operand
    are those of ``sum``.

    Args:
        subscripts: Einstein's notation, as numpy's.
        *operands: Tensors.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: Not a text.

    >>> from loom import tensor
    >>> a = tensor.array([[1, 2], [3, 4]])
    >>> tensor.einsum("ii", a).tolist(), tensor.einsum("...j,j->...", a, a[0]).tolist()
    (5, [5, 11])
    """
    for x in operands:
        require_tensor(x, "einsum")
    inputs, output = _parse(text(subscripts, "einsum, subscripts"), operands)
    dtype = promote("einsum", [x.dtype for x in operands])
    parts = [_diagonals(x if dtype.is_complex else cast(x, dtype), own)
             for x, own in zip(operands, inputs, strict=True)]  # fmt: skip
    parts = _broadcast(parts)
    sizes = {c: n for x, own in parts for c, n in zip(own, x.shape, strict=True)}
    order = contraction_order(tuple(own for _, own in parts), output, tuple(sizes.items()))
    for first, second in order:
        b, a = parts.pop(second), parts.pop(first)
        later = set(output).union(*(own for _, own in parts))
        a, b = _reduce(*a, later.union(b[1])), _reduce(*b, later.union(a[1]))
        parts.insert(first, _contract(*a, *b, later))
    found, letters = _reduce(*parts[0], set(output))
    return permute(found, [letters.index(c) for c in output]) if len(output) > 1 else found


def _refuse(subscripts: str, why: str, expected: str) -> ArgumentError:
    return ArgumentError("einsum", f"unusable subscripts: {why}", expected=expected, got=repr(subscripts),
                         remedy="Name every axis of every operand")  # fmt: skip


def _misfit(subscripts: str, expected: str, got: Any) -> ShapeError:
    return ShapeError("einsum", f"the shapes do not fit {subscripts!r}", expected=expected, got=got,
                      remedy="Check letters and shapes")  # fmt: skip


def _parse(subscripts: str, operands: Sequence[Any]) -> tuple[list[Labels], Labels]:
    """Return the labels of each operand and of the result."""
    left, arrow, output = subscripts.replace(" ", "").partition("->")
    given = left.split(",")
    if len(given) != len(operands) or not operands:
        raise _refuse(subscripts, "not one part for each operand", f"{len(operands)} parts")
    inputs: list[Labels] = []
    sizes: dict[str, int] = {}
    for own, x in zip(given, operands, strict=True):
        labels = _labels(own, x.ndim, subscripts)
        for c, n in zip(labels, x.shape, strict=True):
            if sizes.setdefault(c, n) == 1:
                sizes[c] = n
            if n not in (1, sizes[c]):
                raise _misfit(subscripts, "one length per letter, or 1", [t.shape for t in operands])
        inputs.append(labels)
    dots = sorted((c for c in sizes if c[0] == "."), key=lambda c: -int(c[1:]))
    if not arrow:
        letters = [c for own in inputs for c in own if c[0] != "."]
        return inputs, (*dots, *sorted(c for c in set(letters) if letters.count(c) == 1))
    before, ellipsis, after = output.partition("...")
    wanted = (*before, *(dots if ellipsis else ()), *after)
    if len(set(wanted)) < len(wanted) or not set(wanted) <= set(sizes):
        raise _refuse(subscripts, "the result", "letters of the operands, none twice")
    return inputs, wanted


def _labels(own: str, ndim: int, subscripts: str) -> Labels:
    before, ellipsis, after = own.partition("...")
    if not all(c.isalpha() for c in before + after):
        raise _refuse(subscripts, f"{own!r}", "'ij,jk->ik': letters, commas, ... and one arrow")
    free = ndim - len(before) - len(after)
    if free < 0 or (free and not ellipsis):
        raise _misfit(subscripts, f"{len(before) + len(after)} axes for {own!r}", ndim)
    return (*before, *(f".{k}" for k in reversed(range(free))), *after)


def _diagonals(x: NodeT, labels: Labels) -> tuple[NodeT, Labels]:
    """Return an operand with each letter once: where one was twice, the elements at which both indices are equal."""
    while len(set(labels)) < len(labels):
        c = next(c for c in labels if labels.count(c) > 1)
        a = labels.index(c)
        b = labels.index(c, a + 1)
        if x.shape[a] != x.shape[b]:  # one is 1
            x = broadcast_to(x, tuple(max(x.shape[a], x.shape[b]) if n in (a, b) else m for n, m in enumerate(x.shape)))
        rest = [n for n in range(x.ndim) if n not in (a, b)]
        n, kept = x.shape[a], tuple(x.shape[k] for k in rest)
        flat = reshape(permute(x, [*rest, a, b]), (*kept, n * n))
        x = take_slices(flat, [0] * flat.ndim, [*(1 for _ in kept), n + 1], (*kept, n))
        labels = (*(labels[k] for k in rest), c)
    return x, labels


def _broadcast(parts: list[tuple[NodeT, Labels]]) -> list[tuple[NodeT, Labels]]:
    """Return operands with axes of length 1 repeated where others are longer."""
    sizes: dict[str, int] = {}
    for x, own in parts:
        for c, n in zip(own, x.shape, strict=True):
            if sizes.setdefault(c, n) == 1:
                sizes[c] = n
    return [(broadcast_to(x, tuple(sizes[c] for c in own)), own) for x, own in parts]


# the order


@lru_cache(maxsize=256)
def contraction_order(
    inputs: tuple[Labels, ...], output: Labels, sizes: tuple[tuple[str, int], ...]
) -> tuple[tuple[int, int], ...]:
    """Return which two operands are joined, step by step: the result takes the place of the first of them.

    >>> contraction_order((("a", "b"), ("b", "c"), ("c",)), ("a",), (("a", 50), ("b", 50), ("c", 50)))
    ((1, 2), (0, 1))
    """
    lengths = dict(sizes)
    sets = [frozenset(own) for own in inputs]
    if len(sets) < 3:
        return ((0, 1),) * (len(sets) - 1)
    if len(sets) > MOST_SEARCHED:
        return _greedy(sets, frozenset(output), lengths)
    tree = _cheapest(sets, frozenset(output), lengths)
    steps: list[tuple[int, int]] = []
    places = [1 << k for k in range(len(sets))]

    def join(subset: int) -> None:
        if subset & (subset - 1) == 0:
            return
        a, b = tree[subset]
        join(a)
        join(b)
        first, second = sorted((places.index(a), places.index(b)))
        steps.append((first, second))
        del places[second]
        places[first] = subset

    join((1 << len(sets)) - 1)
    return tuple(steps)


def _cost(letters: frozenset[str], lengths: dict[str, int]) -> int:
    return math.prod(lengths[c] for c in letters)


def _cheapest(
    sets: list[frozenset[str]], output: frozenset[str], lengths: dict[str, int]
) -> dict[int, tuple[int, int]]:
    """Return the two parts that each set of operands is best made of, for all sets that there are."""
    everything = (1 << len(sets)) - 1

    def letters(subset: int) -> frozenset[str]:
        """Return the letters of what a set of operands is joined to."""
        inside = frozenset[str]().union(*(s for k, s in enumerate(sets) if subset >> k & 1))
        outside = output.union(*(s for k, s in enumerate(sets) if not subset >> k & 1))
        return inside & outside

    kept = {subset: letters(subset) for subset in range(1, everything + 1)}
    best: dict[int, int] = {1 << k: 0 for k in range(len(sets))}
    tree: dict[int, tuple[int, int]] = {}
    for subset in sorted(range(1, everything + 1), key=lambda s: (s.bit_count(), s)):
        part = (subset - 1) & subset
        least = subset & -subset
        splits: list[tuple[int, int]] = []
        while part:
            if part & least:
                splits.append((part, subset ^ part))
            part = (part - 1) & subset
        for a, b in sorted(splits, key=lambda ab: (-ab[0].bit_count(), -ab[1])):  # the last operand apart is first
            cost = best[a] + best[b] + _cost(kept[a] | kept[b], lengths)
            if subset not in best or cost < best[subset]:
                best[subset], tree[subset] = cost, (a, b)
    return tree


def _greedy(sets: list[frozenset[str]], output: frozenset[str], lengths: dict[str, int]) -> tuple[tuple[int, int], ...]:
    """Return pairs, each the one that makes what is left the smallest."""
    left, steps = list(sets), list[tuple[int, int]]()
    while len(left) > 1:
        best: tuple[int, int, int, int] | None = None
        for a, b in combinations(range(len(left)), 2):
            others = output.union(*(s for k, s in enumerate(left) if k not in (a, b)))
            made = (left[a] | left[b]) & others
            grown = _cost(made, lengths) - _cost(left[a], lengths) - _cost(left[b], lengths)
            candidate = (grown, _cost(left[a] | left[b], lengths), a, b)
            best = candidate if best is None else min(best, candidate)
        assert best is not None
        _, _, a, b = best
        others = output.union(*(s for k, s in enumerate(left) if k not in (a, b)))
        left[a] = (left[a] | left[b]) & others
        del left[b]
        steps.append((a, b))
    return tuple(steps)


# a step


def _reduce(x: NodeT, labels: Labels, needed: set[str]) -> tuple[NodeT, Labels]:
    """Sum over letters that nothing else needs."""
    axes = tuple(a for a, c in enumerate(labels) if c not in needed)
    return (sum_of(x, axes) if axes else x), tuple(c for c in labels if c in needed)


def _contract(a: NodeT, a_labels: Labels, b: NodeT, b_labels: Labels, later: set[str]) -> tuple[NodeT, Labels]:
    """Return the product of two operands, summed over letters that both have and nothing later needs."""
    sizes = dict(zip(a_labels + b_labels, a.shape + b.shape, strict=True))
    shared = [c for c in a_labels if c in b_labels]
    batch = [c for c in shared if c in later]
    inner = [c for c in shared if c not in later]
    rows = [c for c in a_labels if c not in shared]
    columns = [c for c in b_labels if c not in shared]

    def shape_as(x: NodeT, own: Labels, *groups: list[str]) -> NodeT:
        order = [own.index(c) for g in (batch, *groups) for c in g]
        shape = [sizes[c] for c in batch] + [math.prod(sizes[c] for c in g) for g in groups]
        return reshape(permute(x, order) if len(order) > 1 else x, tuple(shape))

    dtype = promote("einsum", [a.dtype, b.dtype])  # what earlier steps made wider
    a, b = (x if dtype.is_complex else cast(x, dtype) for x in (a, b))
    left, right = shape_as(a, a_labels, rows, inner), shape_as(b, b_labels, inner, columns)
    result = (*batch, *rows, *columns)
    shape = tuple(sizes[c] for c in result)
    if not inner and not (rows and columns):  # nothing is summed: element by element
        wide = PRODUCTS.get(dtype, (dtype,))[0]
        return reshape(apply("mul", cast(left, wide), cast(right, wide)), shape), result
    return reshape(matmul(left, right, out_dtype=PRODUCTS.get(dtype, (dtype,))[0]), shape), result
