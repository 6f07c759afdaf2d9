"""Operators by index: gathered, scattered, found, unique.

Layer: onnx. Invariant: an index of -1 is the last; one outside is refused, by ``run`` also where it is computed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from loom import tensor as lt
from loom.onnx.registry import Made, NodeCall, operator
from loom.tensor.arrays.tensor import Tensor

__all__ = ["require_places"]


def require_places(call: NodeCall, i: int, lengths: int | Sequence[int], least: int | None = None) -> None:
    """Refuse indices that there are not, now or when they are computed: one length, or one for each of the last axis.

    ``least``: 0, or None where -1 is the last.
    """
    value = call.value(i)
    if isinstance(value, Tensor):
        call.limit(value, lengths, wraps=least is None)
        return
    if not value.size:
        return
    n = np.asarray(lengths)
    if np.any(value < (-n if least is None else least)) or np.any(value >= n):
        expected = f"{-n if least is None else least} to {n - 1}"
        raise call.refusal("an index that there is not", expected=expected, got=value.tolist())


def _indices(call: NodeCall, i: int, n: int) -> Tensor:
    """Return indices counted from the first."""
    require_places(call, i, n)
    at = lt.cast(call.tensor(i), "i64")
    return lt.where(at < 0, at + n, at)


@operator("Gather")
def _gather(call: NodeCall, x: Tensor) -> Made:
    axis = call.axis(call.integer("axis", 0), x.ndim)
    return lt.take(x, _indices(call, 1, x.shape[axis]), axis)


@operator("ArrayFeatureExtractor", domain="ai.onnx.ml")
def _array_feature_extractor(call: NodeCall, x: Tensor) -> Made:
    found = lt.take(x, lt.reshape(_indices(call, 1, x.shape[-1]), (-1,)), x.ndim - 1)
    return found if x.ndim > 1 else lt.reshape(found, (1, -1))


@operator("GatherElements", since=11)
def _gather_elements(call: NodeCall, x: Tensor) -> Made:
    axis = call.axis(call.integer("axis", 0), x.ndim)
    at = _indices(call, 1, x.shape[axis])
    cut = tuple(slice(None) if i == axis else slice(0, n) for i, n in enumerate(at.shape))
    return lt.take_along_axis(x[cut], at, axis)


@operator("GatherND", since=11)
def _gather_nd(call: NodeCall, x: Tensor, at: Tensor) -> Made:
    batch = call.integer("batch_dims", 0)
    last = at.shape[-1]
    if not 0 <= batch < min(x.ndim, at.ndim) or last < 1 or batch + last > x.ndim:
        raise call.refusal("the shapes do not fit", got=f"{x.shape}, {at.shape}, batch_dims {batch}")
    require_places(call, 1, x.shape[batch : batch + last])
    flat, rows = _flat_places(call, x.shape, at, batch)
    found = lt.take(lt.reshape(x, (rows, *x.shape[batch + last :])), lt.reshape(flat, (-1,)), 0)
    return lt.reshape(found, (*at.shape[:-1], *x.shape[batch + last :]))


def _flat_places(call: NodeCall, shape: tuple[int, ...], at: Tensor, batch: int) -> tuple[Tensor, int]:
    """Return the place in the axes that tuples of indices name, taken as one, and how many there are."""
    sizes = shape[: batch + at.shape[-1]]
    steps = [math.prod(sizes[i + 1 :]) for i in range(len(sizes))]
    wide = lt.cast(at, "i64")
    lengths = call.array(np.array(sizes[batch:], np.int64))
    wide = lt.where(wide < 0, wide + lengths, wide)
    flat = lt.cast(lt.sum(wide * call.array(np.array(steps[batch:], np.int64)), axis=-1), "i64")
    for axis in range(batch):
        own = np.arange(sizes[axis], dtype=np.int64) * steps[axis]
        flat = flat + call.array(own.reshape(-1, *(1,) * (flat.ndim - 1 - axis)))
    return flat, math.prod(sizes)


_JOINS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


@operator("ScatterElements", "Scatter", since=9)
def _scatter_elements(call: NodeCall, x: Tensor) -> Made:
    updates = call.tensor(2)
    axis = call.axis(call.integer("axis", 0), x.ndim)
    at = _indices(call, 1, x.shape[axis])
    join = call.text("reduction", "none", ("none", *_JOINS))
    flat = _places_of_elements(call, x.shape, at, axis)
    return _put(x, (math.prod(x.shape),), flat, lt.reshape(updates, (-1,)), join)


def _places_of_elements(call: NodeCall, shape: tuple[int, ...], at: Tensor, axis: int) -> Tensor:
    steps = [math.prod(shape[i + 1 :]) for i in range(len(shape))]
    flat: Any = at * steps[axis]
    for i, n in enumerate(at.shape):
        if i != axis:
            own = np.arange(n, dtype=np.int64) * steps[i]
            flat = flat + call.array(own.reshape(-1, *(1,) * (at.ndim - 1 - i)))
    return lt.reshape(flat, (-1,))


def _put(x: Tensor, rows: tuple[int, ...], at: Tensor, updates: Tensor, join: str) -> Tensor:
    """Return ``x``, seen as rows, with updates put or joined at places of the first axis."""
    table = lt.reshape(x, rows)
    if not math.prod(updates.shape):
        return x
    if len(rows) > 1:
        width = math.prod(rows[1:])
        places = lt.reshape(at, (-1, 1)) * width + lt.arange(width, dtype="i64")
        return _put(x, (math.prod(x.shape),), lt.reshape(places, (-1,)), lt.reshape(updates, (-1,)), join)
    if join == "none":
        return lt.reshape(lt.scatter(table, 0, at, updates), x.shape)
    return lt.reshape(lt.scatter_reduce(table, 0, at, updates, _JOINS[join]), x.shape)


@operator("ScatterND", since=11)
def _scatter_nd(call: NodeCall, x: Tensor, at: Tensor, updates: Tensor) -> Made:
    join = call.text("reduction", "none", ("none", *_JOINS))
    last = at.shape[-1]
    if updates.shape != (*at.shape[:-1], *x.shape[last:]):
        raise call.refusal("the shapes do not fit", expected=(*at.shape[:-1], *x.shape[last:]), got=updates.shape)
    require_places(call, 1, x.shape[:last])
    flat, count = _flat_places(call, x.shape, at, 0)
    return _put(x, (count, *x.shape[last:]), lt.reshape(flat, (-1,)), updates, join)


@operator("TensorScatter", since=24)
def _tensor_scatter(call: NodeCall, past: Tensor, update: Tensor) -> Made:
    axis = call.axis(call.integer("axis", -2), past.ndim)
    mode = call.text("mode", "linear", ("linear", "circular"))
    if not call.has_input(2):
        start: Any = call.array(np.zeros(past.shape[0], np.int64))
    else:
        length = past.shape[axis]
        require_places(call, 2, length if mode == "circular" else length - update.shape[axis] + 1, least=0)
        start = lt.cast(call.tensor(2), "i64")
    shape = [1] * past.ndim
    shape[0] = -1
    along = [1] * past.ndim
    along[axis] = -1
    at = lt.reshape(start, tuple(shape)) + lt.reshape(lt.arange(update.shape[axis], dtype="i64"), tuple(along))
    if mode == "circular":
        at = lt.remainder(at, past.shape[axis])
    whole = lt.broadcast_to(at, update.shape)
    flat = _places_of_elements(call, past.shape, whole, axis)
    return _put(past, (math.prod(past.shape),), flat, lt.reshape(update, (-1,)), "none")


@operator("OneHot", since=9)
def _one_hot(call: NodeCall, at: Tensor) -> Made:
    depth, values = int(call.scalar(1)), call.tensor(2)
    axis = call.axis(call.integer("axis", -1), at.ndim + 1)
    call.check_shape((*at.shape, depth))
    wide = lt.cast(at, "i64") if at.dtype.is_integer else lt.cast(lt.cast(at, "f64"), "i64")
    places = lt.expand_dims(lt.where(wide < 0, wide + depth, wide), axis)
    own = call.array(np.arange(depth, dtype=np.int64).reshape(-1, *(1,) * (at.ndim - axis)))
    return lt.where(lt.equal(places, own), values[1], values[0])


@operator("NonZero", since=9)
def _non_zero(call: NodeCall) -> Made:
    found = call.host(0)
    return np.array(np.nonzero(np.atleast_1d(found)), np.int64)


@operator("Compress", since=9)
def _compress(call: NodeCall, x: Tensor) -> Made:
    chosen = call.host(1).reshape(-1)
    axis = call.integer("axis")
    flat = lt.reshape(x, (-1,)) if axis is None else x
    along = 0 if axis is None else call.axis(axis, x.ndim)
    at = np.flatnonzero(chosen[: flat.shape[along]]).astype(np.int64)
    return lt.take(flat, call.array(at), along)


@operator("Unique", since=11)
def _unique(call: NodeCall) -> Made:
    x, axis, is_sorted = call.host(0), call.integer("axis"), call.flag("sorted", 1)
    along = None if axis is None else call.axis(axis, x.ndim)
    values, first, inverse, counts = np.unique(x, True, True, True, axis=along)
    inverse = inverse.reshape(-1)
    if not is_sorted:
        order = np.argsort(first, kind="stable")
        values = np.take(values, order, 0 if along is None else along)
        first, counts, inverse = first[order], counts[order], np.argsort(order, kind="stable")[inverse]
    return [values, *(a.astype(np.int64) for a in (first, inverse, counts))]


@operator("TfIdfVectorizer", since=9)
def _tf_idf(call: NodeCall) -> Made:
    x = call.host(0)
    counts, at = call.integers("ngram_counts"), call.integers("ngram_indexes")
    least, most, skip = call.integer("min_gram_length"), call.integer("max_gram_length"), call.integer("max_skip_count")
    mode = call.text("mode", "", ("TF", "IDF", "TFIDF"))
    pool, weights = call.integers("pool_int64s"), call.reals("weights")
    if pool is None or x.dtype.kind not in "iu":
        raise call.refusal("n-grams of strings", expected="pool_int64s", got="pool_strings")
    grams: dict[tuple[int, ...], int] = {}
    for length, (start, end) in enumerate(zip(counts, [*counts[1:], len(pool)], strict=True), start=1):
        for i in range(start, end, length):
            grams[tuple(pool[i : i + length])] = len(grams)
    rows = np.atleast_2d(x)
    found = np.zeros((len(rows), max(at) + 1), np.float32)
    for row, out in zip(rows.tolist(), found, strict=True):
        for gap in range(1, skip + 2):
            for length in range(least, most + 1):
                if length == 1 and gap > 1:
                    continue
                for i in range(len(row) - (length - 1) * gap):
                    known = grams.get(tuple(row[i : i + (length - 1) * gap + 1 : gap]))
                    if known is not None:
                        out[at[known]] += 1
    if mode != "TF":
        scale = np.zeros(found.shape[1], np.float32)
        scale[at] = np.ones(len(at), np.float32) if weights is None else weights
        found = (found > 0) * scale if mode == "IDF" else found * scale
    return (found if x.ndim > 1 else found[0]).astype(np.float32)
