"""The tree of micro-batches: its additions are those of its definition, whoever holds which part."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from loom.core.errors import StateError
from loom.nn.train.parallel import Sums, TreeNode, cover, join, root_of, share_out, tree


def level_by_level(leaves: list[Any], add: Any) -> Any:
    """The definition, as docs/numerics.md has it: (0, 1), (2, 3), ..., an odd last one carried up."""
    while len(leaves) > 1:
        pairs = [add(a, b) for a, b in zip(leaves[::2], leaves[1::2], strict=False)]
        leaves = pairs + leaves[2 * len(pairs) :]
    return leaves[0]


def summed(node: TreeNode, leaves: list[Any], add: Any) -> Any:
    """Return what a node is by recursion: its left child, and its right one if there is any."""
    begin, end = node.span(len(leaves))
    if node.level == 0 or end - begin == 1:
        return leaves[begin]
    left, right = (TreeNode(node.level - 1, 2 * node.index + k) for k in (0, 1))
    made = summed(left, leaves, add)
    return add(made, summed(right, leaves, add)) if right.span(len(leaves))[0] < len(leaves) else made


@pytest.mark.parametrize("count", range(1, 20))
def test_any_division_among_workers_makes_the_additions_of_the_definition(count: int) -> None:
    draw = np.random.default_rng(count)
    leaves = [np.float32(v) for v in draw.standard_normal(count) * 10.0 ** draw.integers(-6, 6, count)]
    wanted = level_by_level(leaves, np.add)
    for _ in range(8):
        cuts = sorted({0, count, *draw.integers(0, count + 1, draw.integers(0, 6)).tolist()})
        nodes = [node for first, last in pairwise(cuts) for node in cover(first, last, count)]
        parts = [Sums(n, {"loss": np.asarray(summed(n, leaves, np.add))}) for n in nodes]
        draw.shuffle(parts)  # type: ignore[arg-type]
        found = join(parts, count)
        assert [s.node for s in found] == [root_of(count)]
        assert found[0].arrays["loss"].tobytes() == np.float32(wanted).tobytes()


@pytest.mark.parametrize("count", [1, 2, 5, 8, 13])
def test_a_cover_is_of_the_largest_nodes(count: int) -> None:
    for first in range(count):
        for last in range(first + 1, count + 1):
            nodes = cover(first, last, count)
            spans = [n.span(count) for n in nodes]
            assert [p for begin, end in spans for p in range(begin, end)] == list(range(first, last))
            assert join([Sums(n, {}) for n in nodes], count) != []
            assert [s.node for s in join([Sums(n, {}) for n in nodes], count)] == nodes  # none can be joined


def test_what_is_missing_stays_apart_and_what_is_there_twice_is_refused() -> None:
    leaf = {"loss": np.float32(1)}
    found = join([Sums(TreeNode(0, k), leaf) for k in (0, 1, 3, 4)], 5)  # type: ignore[arg-type]
    assert [s.node for s in found] == [TreeNode(1, 0), TreeNode(0, 3), TreeNode(2, 1)]
    for again in (TreeNode(0, 1), TreeNode(1, 0)):
        with pytest.raises(StateError, match="a micro-batch was summed up twice"):
            join([Sums(TreeNode(1, 0), {}), Sums(again, {})], 4)


def test_threads_that_flush_small_numbers_add_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    small = np.array([2.0**-140, -(2.0**-149), 1.5, -0.0], np.float32)
    parts = [Sums(TreeNode(0, k), {"loss": small * np.float32(k + 1)}) for k in range(2)]
    usual = join(parts, 2)[0].arrays["loss"]
    monkeypatch.setattr(tree, "_flushes", lambda: True)
    assert join(parts, 2)[0].arrays["loss"].tobytes() == usual.tobytes()
    assert usual[0] == 3 * 2.0**-140


def test_shares_follow_speeds_and_are_all() -> None:
    for count in (1, 2, 7, 64):
        for speeds in ([1.0], [1, 1, 1], [5, 1], [0, 1, 0], [1e-9, 1], [3, 2, 1, 7, 2]):
            ranges = share_out(count, speeds)
            assert [p for begin, end in ranges for p in range(begin, end)] == list(range(count))
            for (begin, end), speed in zip(ranges, speeds, strict=True):
                assert abs((end - begin) - count * speed / sum(speeds)) <= 1
