"""Ensembles of decision trees (``ai.onnx.ml``).

Layer: onnx. All trees of all samples go down one step at a time: nodes are rows of tables, leaves lead to themselves.
Invariant: a child that there is not, and a node that is reached twice, is refused when the graph is recorded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from loom import tensor as lt
from loom.core.late.dataclass import dataclass
from loom.onnx.registry import Made, NodeCall, operator
from loom.onnx.scores import as_float, class_labels, pick_labels, transform_scores
from loom.tensor.arrays.tensor import Tensor

__all__: list[str] = []

_ML = "ai.onnx.ml"
_RULES = ("BRANCH_LEQ", "BRANCH_LT", "BRANCH_GTE", "BRANCH_GT", "BRANCH_EQ", "BRANCH_NEQ", "BRANCH_MEMBER")
_LEAF = -1
_DEEPEST = 1 << 10
Numbers = np.ndarray[Any, Any]


@dataclass
class _TreeForest:
    """Trees as tables of nodes: features, bounds, rules (numbers of ``_RULES``, -1 at leaves), the two children.

    ``nan_yes``: whether NaN goes to the first child; ``members``: of membership, (nodes, most), NaN where none is.
    """

    roots: Numbers
    features: Numbers
    bounds: Numbers
    rules: Numbers
    yes: Numbers
    no: Numbers
    nan_yes: Numbers
    members: Numbers | None = None

    def depth(self, call: NodeCall) -> int:
        """Return the most steps from a root to a leaf; ArgumentError for what is no tree."""
        count, level, steps, seen = len(self.rules), self.roots, 0, np.zeros(len(self.rules), bool)
        while True:
            if level.size and not 0 <= level.min() <= level.max() < count:
                raise call.refusal("a child that there is not", expected=f"0 to {count - 1}", got=int(level.max()))
            if len(np.unique(level)) != len(level) or seen[level].any() or steps > _DEEPEST:
                raise call.refusal("a node with two parents, or a cycle", expected="trees")
            seen[level] = True
            level = level[self.rules[level] != _LEAF]
            if not level.size:
                return steps
            level, steps = np.concatenate([self.yes[level], self.no[level]]), steps + 1

    def leaves(self, call: NodeCall, x: Tensor) -> Tensor:
        """Return the leaf of each sample in each tree: (n, trees), i64."""
        steps, inner = self.depth(call), self.rules != _LEAF
        if inner.any() and not 0 <= self.features[inner].min() <= self.features[inner].max() < x.shape[1]:
            raise call.refusal("a feature that there is not", expected=f"0 to {x.shape[1] - 1}",
                               got=int(self.features[inner].max()))  # fmt: skip
        own = np.arange(len(self.rules))
        tables = _NodeTables(call, self, x, np.where(inner, self.yes, own), np.where(inner, self.no, own))
        at = lt.broadcast_to(call.array(self.roots.astype(np.int64)[None]), (x.shape[0], len(self.roots)))
        for _ in range(steps):
            at = tables.next(at)
        return at


class _NodeTables:
    """The tables of a forest on the device, and a step down."""

    def __init__(self, call: NodeCall, forest: _TreeForest, x: Tensor, yes: Numbers, no: Numbers) -> None:
        inner = forest.rules != _LEAF
        self.x, self.rules = x, sorted(set(forest.rules[inner].tolist()))
        self.kinds = call.array(forest.rules.astype(np.int64))
        self.features = call.array(np.where(inner, forest.features, 0).astype(np.int64))
        self.bounds = call.array(forest.bounds.astype(np.float64), x.dtype)
        self.yes, self.no = call.array(yes.astype(np.int64)), call.array(no.astype(np.int64))
        self.nan_yes = call.array(forest.nan_yes.astype(bool)) if forest.nan_yes[inner].any() else None
        self.members = None if forest.members is None else call.array(forest.members.astype(np.float64), x.dtype)

    def next(self, at: Tensor) -> Tensor:
        def of(table: Tensor) -> Tensor:
            return lt.take(table, lt.reshape(at, (-1,)), 0)

        value = lt.reshape(lt.take_along_axis(self.x, lt.reshape(of(self.features), at.shape), 1), (-1,))
        goes: Any = None
        for rule in self.rules:
            here = self._holds(rule, value, of)
            goes = here if goes is None else lt.where(lt.equal(of(self.kinds), rule), here, goes)
        if self.nan_yes is not None:
            goes = lt.where(lt.isnan(value), of(self.nan_yes), goes)
        return lt.reshape(lt.where(goes, of(self.yes), of(self.no)), at.shape)

    def _holds(self, rule: int, value: Tensor, of: Any) -> Tensor:
        if _RULES[rule] == "BRANCH_MEMBER":
            assert self.members is not None
            return lt.any(lt.equal(of(self.members), lt.expand_dims(value, -1)), axis=-1)
        bound = of(self.bounds)
        compare = (lt.less_equal, lt.less, lt.greater_equal, lt.greater, lt.equal, lt.not_equal)[rule]
        found = compare(value, bound)
        return lt.logical_and(found, lt.logical_not(lt.isnan(value))) if _RULES[rule] == "BRANCH_NEQ" else found


def _reals(call: NodeCall, name: str) -> Numbers:
    """Return numbers of an attribute, which may be a tensor of f64."""
    if call.has(f"{name}_as_tensor"):
        return np.asarray(call.scope.read_tensor(call.proto(f"{name}_as_tensor"))).reshape(-1).astype(np.float64)
    return np.array(call.reals(name, []), np.float64)


def _read_forest(call: NodeCall) -> tuple[_TreeForest, dict[tuple[int, int], int]]:
    """Return the trees of the older operators, and the rows of (tree, node)."""
    trees, nodes = call.integers("nodes_treeids", []), call.integers("nodes_nodeids", [])
    names = call.strings("nodes_modes", [])
    yes, no = call.integers("nodes_truenodeids", []), call.integers("nodes_falsenodeids", [])
    features, bounds = np.array(call.integers("nodes_featureids", []), np.int64), _reals(call, "nodes_values")
    tracks = call.integers("nodes_missing_value_tracks_true", [])
    _reals(call, "nodes_hitrates")
    count = len(trees)
    if (
        not count
        or {len(p) for p in (nodes, names, yes, no, features, bounds)} != {count}
        or len(tracks) not in (0, count)
    ):
        raise call.refusal("tables of nodes differ in length", expected=count)
    rows = {key: i for i, key in enumerate(zip(trees, nodes, strict=True))}
    unknown = [n for n in names if n != "LEAF" and n not in _RULES]
    if len(rows) != count or unknown:
        raise call.refusal("nodes", expected="each once, of known modes", got=unknown or "one twice")
    rules = np.array([_LEAF if n == "LEAF" else _RULES.index(n) for n in names])
    first: dict[int, int] = {}
    for i, tree in enumerate(trees):
        first.setdefault(tree, i)

    def children(ids: Sequence[int]) -> Numbers:
        missing = -1
        return np.array([rows.get((t, i), missing) for t, i in zip(trees, ids, strict=True)])

    roots = np.array([first[tree] for tree in sorted(first)])
    nan_yes = np.array(tracks or [0] * count, bool)
    return _TreeForest(roots, features, bounds, rules, children(yes), children(no), nan_yes), rows


def _weights(
    call: NodeCall, what: str, rows: dict[tuple[int, int], int], count: int, targets: int
) -> tuple[Numbers, Numbers]:
    """Return what each node adds to each target, (nodes, targets), and whether it says something of it."""
    trees, nodes = call.integers(f"{what}_treeids", []), call.integers(f"{what}_nodeids", [])
    at, weights = call.integers(f"{what}_ids", []), _reals(call, f"{what}_weights")
    if {len(p) for p in (trees, nodes, at)} != {len(weights)} or any(not 0 <= t < targets for t in at):
        raise call.refusal("weights of leaves do not fit", expected=f"targets 0 to {targets - 1}", got=at[:8])
    call.check_shape((count, targets))
    table, told = np.zeros((count, targets)), np.zeros((count, targets), bool)
    for key, target, weight in zip(zip(trees, nodes, strict=True), at, weights, strict=True):
        if key not in rows:
            raise call.refusal("weights of a node that there is not", got=key)
        table[rows[key], target] += weight
        told[rows[key], target] = True
    return table, told


def _join(call: NodeCall, leaves: Tensor, table: Numbers, told: Numbers, how: str, dtype: Any) -> Tensor:
    """Return the sum, mean or extreme over trees of what leaves say: (n, targets)."""
    n, trees = leaves.shape
    flat = lt.reshape(leaves, (-1,))
    shape = (n, trees, table.shape[1])
    if how in ("SUM", "AVERAGE"):
        total = lt.sum(lt.reshape(lt.take(call.array(table, dtype), flat, 0), shape), axis=1)
        return total / trees if how == "AVERAGE" else total
    least = np.finfo(np.float64 if getattr(dtype, "name", "") == "f64" else np.float32)
    empty = float(least.max if how == "MIN" else least.min)
    said = lt.reshape(lt.take(call.array(np.where(told, table, empty), dtype), flat, 0), shape)
    return lt.min(said, axis=1) if how == "MIN" else lt.max(said, axis=1)


@operator("TreeEnsembleRegressor", domain=_ML)
def _tree_regressor(call: NodeCall) -> Made:
    x = as_float(call.tensor(0))
    forest, rows = _read_forest(call)
    targets, base = call.integer("n_targets", 1), _reals(call, "base_values")
    how = call.text("aggregate_function", "SUM", ("SUM", "AVERAGE", "MIN", "MAX"))
    table, told = _weights(call, "target", rows, len(forest.rules), targets)
    found = _join(call, forest.leaves(call, x), table, told, how, x.dtype)
    if base.size:
        if base.size not in (1, targets):
            raise call.refusal("base_values", expected=targets, got=base.size)
        found = found + call.array(base, x.dtype)
    return lt.cast(transform_scores(call, found), "f32")


@operator("TreeEnsembleClassifier", domain=_ML)
def _tree_classifier(call: NodeCall) -> Made:
    x = as_float(call.tensor(0))
    forest, rows = _read_forest(call)
    labels, base = class_labels(call, "classlabels_int64s"), _reals(call, "base_values")
    if labels is None:
        raise call.refusal("no labels", expected="classlabels_int64s")
    used = set(call.integers("class_ids", []))
    count, is_binary = len(labels), len(used) == 1 and len(labels) <= 2
    table, told = _weights(call, "class", rows, len(forest.rules), max(count, max(used, default=0) + 1))
    found = _join(call, forest.leaves(call, x), table, told, "SUM", x.dtype)
    column = min(used) if is_binary else 0
    if base.size:
        found = found + call.array(base if base.size != 1 or not is_binary else np.full(1, base[0]), x.dtype)
    if is_binary:
        found = _two_scores(call, found[:, column : column + 1])
    scores = lt.cast(transform_scores(call, found), "f32")
    best = lt.argmax(scores, -1)
    if is_binary and count == 1:
        return [lt.where(lt.equal(best, 1), lt.full((), labels[0], "i64"), lt.full((), 0, "i64")), scores]
    return [pick_labels(call, labels, best), scores]


def _two_scores(call: NodeCall, positive: Tensor) -> Tensor:
    """Return the scores of two classes, of that of the second."""
    is_chance = call.text("post_transform", "NONE") in ("NONE", "PROBIT")
    return lt.concat([1 - positive if is_chance else -positive, positive], 1)


@operator("TreeEnsemble", domain=_ML, since=5)
def _tree_ensemble(call: NodeCall) -> Made:
    x = as_float(call.tensor(0))
    how = ("AVERAGE", "SUM", "MIN", "MAX")[_choice(call, "aggregate_function", 1, 4)]
    post, targets = _choice(call, "post_transform", 0, 5), call.integer("n_targets")
    if post not in (0, 1, 2):
        raise call.refusal("post_transform", expected="NONE, SOFTMAX or LOGISTIC", got=post)
    forest, inner = _newer_forest(call)
    at, weights = call.integers("leaf_targetids"), call.scope.read_tensor(call.proto("leaf_weights")).reshape(-1)
    if len(at) != len(weights) or len(forest.rules) != inner + len(at) or any(not 0 <= t < targets for t in at):
        raise call.refusal("weights of leaves do not fit", expected=f"targets 0 to {targets - 1}", got=at[:8])
    table, told = np.zeros((len(forest.rules), targets)), np.zeros((len(forest.rules), targets), bool)
    leaves = np.arange(inner, inner + len(at))
    table[leaves, at], told[leaves, at] = weights, True
    found = _join(call, forest.leaves(call, x), table, told, how, x.dtype)
    found = lt.softmax(found, -1) if post == 1 else lt.sigmoid(found) if post == 2 else found
    return lt.cast(found, call.tensor(0).dtype)


def _choice(call: NodeCall, name: str, default: int, count: int) -> int:
    found = call.integer(name, default)
    if not 0 <= found < count:
        raise call.refusal(f"attribute {name!r} has an unknown value", expected=f"0 to {count - 1}", got=found)
    return found


def _newer_forest(call: NodeCall) -> tuple[_TreeForest, int]:
    """Return the trees of ``TreeEnsemble``, leaves behind the other nodes, and how many those are."""

    def numbers(name: str) -> Numbers:
        return np.array(call.integers(name, []), np.int64)

    splits = call.scope.read_tensor(call.proto("nodes_splits")).reshape(-1).astype(np.float64)
    modes = call.scope.read_tensor(call.proto("nodes_modes")).reshape(-1).astype(np.int64)
    features, tracks = numbers("nodes_featureids"), numbers("nodes_missing_value_tracks_true")
    yes, no = numbers("nodes_truenodeids"), numbers("nodes_falsenodeids")
    yes_ends, no_ends = numbers("nodes_trueleafs"), numbers("nodes_falseleafs")
    if call.has("nodes_hitrates"):
        call.proto("nodes_hitrates")
    n, leaves = len(splits), len(call.integers("leaf_targetids"))
    if {len(p) for p in (modes, features, yes, no, yes_ends, no_ends)} != {n} or len(tracks) not in (0, n):
        raise call.refusal("tables of nodes differ in length", expected=n)
    if n and (modes.min() < 0 or modes.max() >= len(_RULES)):
        raise call.refusal("an unknown mode", expected=f"0 to {len(_RULES) - 1}", got=modes.tolist()[:8])
    roots = numbers("tree_roots")
    if roots.size and not 0 <= roots.min() <= roots.max() < n:
        raise call.refusal("a root that there is not", expected=f"0 to {n - 1}", got=roots.tolist()[:8])
    alone = (yes_ends[roots] & no_ends[roots]).astype(bool) & (yes[roots] == no[roots])
    forest = _TreeForest(
        np.where(alone, n + yes[roots], roots), np.concatenate([features, np.zeros(leaves, np.int64)]),
        np.concatenate([splits, np.zeros(leaves)]), np.concatenate([modes, np.full(leaves, _LEAF)]),
        np.concatenate([np.where(yes_ends, n + yes, yes), np.full(leaves, -1)]),
        np.concatenate([np.where(no_ends, n + no, no), np.full(leaves, -1)]),
        np.concatenate([tracks if tracks.size else np.zeros(n, np.int64), np.zeros(leaves, np.int64)]).astype(bool),
    )  # fmt: skip
    forest.members = _members(call, forest, n + leaves)
    return forest, n


def _members(call: NodeCall, forest: _TreeForest, count: int) -> Numbers | None:
    """Return the sets of nodes that ask for membership, in the order of trees, the first child first."""
    proto, member = call.proto("membership_values"), _RULES.index("BRANCH_MEMBER")
    if proto is None:
        if (forest.rules == member).any():
            raise call.refusal("membership without members", expected="membership_values")
        return None
    values = call.scope.read_tensor(proto).reshape(-1).astype(np.float64)
    ends = np.flatnonzero(np.isnan(values))
    starts = [0, *(ends[:-1] + 1).tolist()][: len(ends)]
    sets = [values[a:b] for a, b in zip(starts, ends.tolist(), strict=True)]
    nodes = np.flatnonzero(forest.rules == member)
    if len(sets) != len(nodes):
        raise call.refusal("sets of members", expected=len(nodes), got=len(sets))
    order = [i for i in _depth_first(call, forest) if forest.rules[i] == member]
    table = np.full((count, max((len(s) for s in sets), default=1) or 1), np.nan)
    for i, found in zip(order, sets, strict=True):
        table[i, : len(found)] = found
    return table


def _depth_first(call: NodeCall, forest: _TreeForest) -> list[int]:
    forest.depth(call)  # refuses what is no tree
    found: list[int] = []
    waiting = [int(r) for r in forest.roots[::-1]]
    while waiting:
        at = waiting.pop()
        found.append(at)
        if forest.rules[at] != _LEAF:
            waiting += [int(forest.no[at]), int(forest.yes[at])]
    return found
