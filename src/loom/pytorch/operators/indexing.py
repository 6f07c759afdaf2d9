"""Operators by index: embeddings, gathering, putting, adding at places.

Layer: pytorch. Invariant: nothing of floats is scattered; of several put in one place the last stays.
"""

from __future__ import annotations

from typing import Any

from loom import tensor as lt
from loom.importers.promotion import cast
from loom.pytorch.registry import Made, OpCall, operator
from loom.tensor.arrays.tensor import Tensor

__all__: list[str] = []


@operator("embedding")
def _embedding(call: OpCall, table: Tensor, at: Tensor) -> Made:
    padding = call.integer("padding_idx", -1)
    rows = lt.gather(table, call.limit(at, table.shape[0]))
    if call.flag("scale_grad_by_freq"):  # the gradient of a row is divided by how often it is asked for
        flat = lt.reshape(at, (-1,))
        alike = lt.equal(lt.expand_dims(flat, 1), lt.expand_dims(flat, 0))
        count = lt.reshape(lt.cast(lt.count_nonzero(alike, 1), rows.dtype), (*at.shape, 1))
        rows = lt.detach(rows) + (rows - lt.detach(rows)) / count
    if padding < 0:
        return rows
    return lt.where(lt.expand_dims(lt.equal(at, padding), -1), lt.detach(rows), rows)  # that row is not trained


@operator("index", "_unsafe_index")
def _index(call: OpCall, x: Tensor) -> Made:
    given = call.value("indices")
    for n, index in zip(x.shape, given, strict=False):
        if isinstance(index, Tensor) and index.dtype.is_bool:
            raise call.refusal("the length depends on elements", expected="whole numbers", got="a mask")
        if isinstance(index, Tensor) and call.base == "index":
            call.limit(index, n, wraps=True)
    return x[tuple(slice(None) if index is None else index for index in given)]


@operator("index_select")
def _index_select(call: OpCall, x: Tensor) -> Made:
    at = call.axis("dim", x.ndim)
    return lt.take(x, lt.reshape(call.limit(call.tensor("index"), (x.shape or (1,))[at]), (-1,)), at)


@operator("gather", "take_along_dim")
def _gather(call: OpCall, x: Tensor) -> Made:
    if call.base == "take_along_dim":
        at = call.axis("dim", x.ndim)
        return lt.take_along_axis(x, call.limit(call.tensor("indices"), x.shape[at], wraps=True), at)
    index, at = call.tensor("index"), call.axis("dim", x.ndim)
    if not x.ndim:
        return lt.broadcast_to(x, index.shape)
    return lt.gather(x, call.limit(index, x.shape[at]), at)


@operator("take")
def _take(call: OpCall, x: Tensor) -> Made:
    return lt.take(lt.reshape(x, (-1,)), call.limit(call.tensor("index"), x.size, wraps=True), 0)


def _source(call: OpCall, index: Tensor) -> Any:
    return call.tensor("src") if call.has("src") else call.full(index.shape, call.value("value"), call.tensor().dtype)


@operator("scatter", "scatter_add")
def _scatter(call: OpCall, x: Tensor) -> Made:
    index = call.tensor("index")
    at, source = call.axis("dim", x.ndim), _source(call, index)
    call.limit(index, (x.shape or (1,))[at])
    how = call.value("reduce")
    if how is not None:
        raise call.refusal("it joins what is there", expected="scatter_reduce", got=how)
    if call.base == "scatter_add":
        return lt.scatter_add(x, at, index, source)
    return lt.scatter(x, at, index, cast(source, x.dtype))


@operator("scatter_reduce")
def _scatter_reduce(call: OpCall, x: Tensor) -> Made:
    at = call.axis("dim", x.ndim)
    index = call.limit(call.tensor("index"), (x.shape or (1,))[at])
    return lt.scatter_reduce(x, at, index, call.tensor("src"),
                             call.value("reduce"),
                             include_self=call.flag("include_self", True))  # fmt: skip


@operator("index_add", "index_copy", "index_fill")
def _at_index(call: OpCall, x: Tensor) -> Made:
    at, index = call.axis("dim", x.ndim), lt.reshape(call.tensor("index"), (-1,))
    call.limit(index, (x.shape or (1,))[at], wraps=call.base == "index_fill")
    if call.base == "index_add":
        return lt.index_add(x, at, index, call.tensor("source"), alpha=call.value("alpha", 1))
    if call.base == "index_copy":
        return lt.index_copy(x, at, index, call.tensor("source"))
    value = call.value("value")
    if isinstance(value, Tensor):
        shape = (*x.shape[:at], index.size, *x.shape[at + 1 :])
        return lt.index_copy(x, at, index, lt.broadcast_to(cast(value, x.dtype), shape))
    return lt.index_fill(x, at, index, float(value) if x.dtype.is_float else value)


@operator("index_put", "_unsafe_index_put")
def _index_put(call: OpCall, x: Tensor) -> Made:
    values, add = call.tensor("values"), call.flag("accumulate")
    given = call.value("indices")
    values = cast(values, x.dtype)
    for n, index in zip(x.shape, given, strict=False):
        if isinstance(index, Tensor) and not index.dtype.is_bool and call.base == "index_put":
            call.limit(index, n, wraps=True)
    masks = [i for i in given if isinstance(i, Tensor) and i.dtype.is_bool]
    if masks:
        return _put_by_mask(call, x, given, values, add)
    first = next(k for k, index in enumerate(given) if index is not None)
    last = max(k for k, index in enumerate(given) if index is not None)
    if any(index is None for index in given[first : last + 1]):
        raise call.refusal("indices with an axis between them", expected="indices of neighbouring axes", got=len(given))
    order = (*range(first, x.ndim), *range(first))
    if not first:
        return lt.index_put(x, given[: last + 1], values, accumulate=add)
    shape = (*x.shape[:first], *given[first].shape, *x.shape[last + 1 :])
    spread = lt.broadcast_to(values, shape)
    turned = lt.permute(spread, (*range(first, spread.ndim), *range(first)))
    found = lt.index_put(lt.permute(x, order), given[first : last + 1], turned, accumulate=add)
    back = x.ndim - first
    return lt.permute(found, (*range(back, x.ndim), *range(back)))


def _put_by_mask(call: OpCall, x: Tensor, given: list[Any], values: Tensor, add: bool) -> Tensor:
    if len(given) != 1 or values.size != 1:
        raise call.refusal("the number of places depends on elements", expected="one number for a mask",
                           got=values.shape)  # fmt: skip
    mask = lt.reshape(given[0], (*given[0].shape, *(1,) * (x.ndim - given[0].ndim)))
    value = lt.reshape(values, ())
    return lt.where(mask, x + value if add else value, x)


@operator("masked_scatter")
def _scatter_masked(call: OpCall, x: Tensor, mask: Tensor) -> Made:
    source = lt.reshape(call.tensor("source"), (-1,))
    flat = lt.reshape(lt.broadcast_to(mask, x.shape), (-1,))
    places = lt.cumsum(lt.cast(flat, "i64"), 0) - 1
    taken = lt.reshape(lt.take(source, lt.maximum(places, 0), 0), x.shape)
    return lt.where(lt.broadcast_to(mask, x.shape), taken, x)


@operator("searchsorted", "bucketize", ignores=("out_int32",))
def _search_sorted(call: OpCall) -> Made:
    right = call.flag("right") or call.value("side") == "right"
    if call.base == "bucketize":
        found = lt.searchsorted(call.tensor("boundaries"), call.tensor(), right=right)
    else:
        found = lt.searchsorted(call.tensor("sorted_sequence"), call.tensor(), right=right)
    return cast(found, call.out)


@operator("isin", ignores=("assume_unique",))
def _isin(call: OpCall) -> Made:
    x, among = call.tensor("elements"), lt.reshape(call.tensor("test_elements"), (-1,))
    found = lt.any(lt.equal(lt.expand_dims(x, -1), among), axis=-1)
    return lt.logical_not(found) if call.flag("invert") else found
