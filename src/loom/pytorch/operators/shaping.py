"""Operators of shapes: views, joins, cuts, padding, repetition.

Layer: pytorch. Invariant: no element is computed; what PyTorch calls a copy is the same tensor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any, cast

import numpy as np

from loom import tensor as lt
from loom.importers.cuts import cut, cut_into, pad_by_number, pad_by_places, pixels_to_channels, spread_channels
from loom.importers.promotion import cast as to_type
from loom.importers.promotion import meet
from loom.pytorch.registry import Made, OpCall, operator
from loom.tensor.arrays.tensor import Tensor

__all__: list[str] = []


@operator("alias", "clone", "contiguous", "lift", "lift_fresh", "lift_fresh_copy", "copy_to_host", "positive",
          "resolve_conj", "resolve_neg", "_reshape_copy", ignores=("dtype",))  # fmt: skip
def _same(x: Tensor) -> Made:
    return x


operator("detach", "detach_copy")(lt.detach)


@operator("copy")
def _copy(x: Tensor, source: Tensor) -> Made:
    return lt.broadcast_to(to_type(source, x.dtype), x.shape)


@operator("view", "reshape", "_unsafe_view", "view_copy")
def _view(call: OpCall, x: Tensor) -> Made:
    if call.has("dtype"):
        raise call.refusal("bits are seen as another dtype", expected="a shape", got=call.value("dtype"))
    return lt.reshape(x, tuple(call.integers("shape" if call.base == "reshape" else "size")))


@operator("view_as", "reshape_as", "expand_as")
def _as_other(call: OpCall, x: Tensor, other: Tensor) -> Made:
    return lt.broadcast_to(x, other.shape) if call.base == "expand_as" else lt.reshape(x, other.shape)


@operator("flatten", "ravel")
def _flatten(call: OpCall, x: Tensor) -> Made:
    first, last = call.axis("start_dim", x.ndim, 0), call.axis("end_dim", x.ndim, -1)
    if not x.ndim:
        return lt.reshape(x, (1,))
    return lt.reshape(x, (*x.shape[:first], math.prod(x.shape[first : last + 1]), *x.shape[last + 1 :]))


@operator("unflatten")
def _unflatten(call: OpCall, x: Tensor) -> Made:
    at, sizes = call.axis("dim", x.ndim), call.integers("sizes")
    if -1 in sizes:
        sizes[sizes.index(-1)] = x.shape[at] // math.prod(n for n in sizes if n != -1)
    return lt.reshape(x, (*x.shape[:at], *sizes, *x.shape[at + 1 :]))


@operator("squeeze", "squeeze_copy")
def _squeeze(call: OpCall, x: Tensor) -> Made:
    axes = call.axes("dim", x.ndim) if call.has("dim") else range(x.ndim)
    return lt.reshape(x, tuple(n for i, n in enumerate(x.shape) if n != 1 or i not in (axes or ())))


@operator("unsqueeze", "unsqueeze_copy")
def _unsqueeze(call: OpCall, x: Tensor) -> Made:
    return lt.expand_dims(x, call.axis("dim", x.ndim + 1))


@operator("permute", "permute_copy")
def _permute(call: OpCall, x: Tensor) -> Made:
    return lt.permute(x, call.axes("dims", x.ndim) or ())


@operator("transpose", "transpose_copy", "swapaxes", "swapdims")
def _transpose(call: OpCall, x: Tensor) -> Made:
    names = ("axis0", "axis1") if call.base == "swapaxes" else ("dim0", "dim1")
    a, b = (call.axis(n, x.ndim) for n in names)
    return x if a == b or not x.ndim else lt.transpose(x, a, b)


@operator("t", "numpy_T", "mT", "matrix_H", "mH", "adjoint", "t_copy")
def _turn(call: OpCall, x: Tensor) -> Made:
    if x.dtype.is_complex and call.base in ("matrix_H", "mH", "adjoint"):
        x = lt.conj(x)
    return lt.permute(x, tuple(reversed(range(x.ndim)))) if call.base in ("t", "numpy_T") else lt.transpose(x)


@operator("movedim", "moveaxis")
def _movedim(call: OpCall, x: Tensor) -> Made:
    return lt.moveaxis(x, tuple(call.integers("source")), tuple(call.integers("destination")))


@operator("expand", "broadcast_to", "expand_copy")
def _expand(call: OpCall, x: Tensor) -> Made:
    wanted = call.integers("size")
    own = (*(1,) * (len(wanted) - x.ndim), *x.shape)
    return lt.broadcast_to(x, tuple(m if n == -1 else n for n, m in zip(wanted, own, strict=True)))


# joins


def _to_common_type(parts: Sequence[Tensor]) -> list[Tensor]:
    dtype = meet(parts)
    return [to_type(p, dtype) for p in parts]


@operator("cat", "concat", "concatenate")
def _cat(call: OpCall) -> Made:
    parts = _to_common_type(call.tensors())
    if len({p.ndim for p in parts}) > 1:
        parts = [p for p in parts if p.shape != (0,)]  # PyTorch leaves these out, whatever the others' rank
    return lt.concat(parts, call.axis("dim", parts[0].ndim, 0))


@operator("stack", "hstack", "vstack", "dstack", "column_stack")
def _stack(call: OpCall) -> Made:
    parts = _to_common_type(call.tensors())
    if call.base == "stack":
        return lt.stack(parts, call.axis("dim", parts[0].ndim + 1, 0))
    if call.base in ("hstack", "column_stack"):
        if call.base == "column_stack":
            parts = [lt.reshape(p, (-1, 1)) if p.ndim < 2 else p for p in parts]
        parts = [lt.reshape(p, (1,)) if not p.ndim else p for p in parts]
        return lt.concat(parts, 0 if parts[0].ndim == 1 else 1)
    if call.base == "vstack":
        return lt.concat([lt.reshape(p, (1, -1)) if p.ndim < 2 else p for p in parts], 0)
    raise call.refusal("it is not done", expected="stack or cat", got=call.base)


# cuts


def _ends(call: OpCall, n: int) -> tuple[int, int, int]:
    start, end = call.value("start"), call.value("end")
    step = call.integer("step", 1)
    return slice(None if start is None else int(start), None if end is None else int(end), step).indices(n)


@operator("slice", "slice_copy")
def _slice(call: OpCall, x: Tensor) -> Made:
    at = call.axis("dim", x.ndim, 0)
    first, last, step = _ends(call, x.shape[at])
    return cut(x, at, first, max(first, last), step)


@operator("narrow", "narrow_copy")
def _narrow(call: OpCall, x: Tensor) -> Made:
    at, first = call.axis("dim", x.ndim), call.integer("start")
    first += x.shape[at] if first < 0 else 0
    return cut(x, at, first, first + call.integer("length"))


@operator("select", "select_copy")
def _select(call: OpCall, x: Tensor) -> Made:
    at, index = call.axis("dim", x.ndim), call.value("index")
    if isinstance(index, Tensor):
        return lt.take(x, lt.reshape(index, ()), at)
    return x[(*(slice(None),) * at, int(index))]


def _replace(x: Tensor, source: Tensor, key: tuple[Any, ...]) -> Tensor:
    """Return ``x`` with a part of it replaced."""
    flags = np.zeros(x.shape, bool)
    flags[key] = True
    places = np.zeros(x.shape, np.int64)
    places[key] = np.arange(source.size).reshape(source.shape)
    if not source.size:
        return x
    from loom.tensor.arrays.tensor import array

    spread = lt.take(lt.reshape(source, (-1,)), array(places, on=x.device), 0)
    return lt.where(array(flags, on=x.device), spread, x)


@operator("slice_scatter")
def _slice_scatter(call: OpCall, x: Tensor, source: Tensor) -> Made:
    at = call.axis("dim", x.ndim, 0)
    first, last, step = _ends(call, x.shape[at])
    if step == 1:
        parts = [cut(x, at, 0, first), source, cut(x, at, max(first, last), x.shape[at])]
        return lt.concat([p for p in parts if p.shape[at]] or [x], at)
    return _replace(x, source, (*(slice(None),) * at, slice(first, last, step)))


@operator("select_scatter")
def _select_scatter(call: OpCall, x: Tensor, source: Tensor) -> Made:
    at, index = call.axis("dim", x.ndim), call.integer("index")
    index += x.shape[at] if index < 0 else 0
    parts = [cut(x, at, 0, index), lt.expand_dims(source, at), cut(x, at, index + 1, x.shape[at])]
    return lt.concat([p for p in parts if p.shape[at]], at)


@operator("split", "split_with_sizes", "chunk", "tensor_split", "unsafe_split", "unsafe_chunk", "split_copy",
          "split_with_sizes_copy", "unsafe_split_with_sizes")  # fmt: skip
def _split(call: OpCall, x: Tensor) -> Made:
    at = call.axis("dim", x.ndim, 0)
    n = x.shape[at]
    if "chunk" in call.base:
        size = max(1, -(-n // call.integer("chunks")))
        sizes = [min(size, n - k) for k in range(0, n, size)] or [0]
    elif call.base == "tensor_split":
        return _tensor_split(call, x, at)
    else:
        given = call.value("split_size", call.value("split_sizes"))
        sizes = [min(given, n - k) for k in range(0, n, given)] if isinstance(given, int) else [int(k) for k in given]
    return cut_into(x, at, sizes)


def _tensor_split(call: OpCall, x: Tensor, at: int) -> list[Tensor]:
    n = x.shape[at]
    if call.has("indices"):
        ends = [0, *call.integers("indices"), n]
    else:
        count = call.integer("sections")
        sizes = [n // count + (1 if k < n % count else 0) for k in range(count)]
        ends = [0, *accumulate(sizes)]
    cuts = [slice(a, b).indices(n)[:2] for a, b in pairwise(ends)]  # they may count from the end, or lie behind it
    return [cut(x, at, a, max(a, b)) for a, b in cuts]


@operator("unbind", "unbind_copy")
def _unbind(call: OpCall, x: Tensor) -> Made:
    return list(lt.unstack(x, axis=call.axis("dim", x.ndim, 0)))


@operator("diagonal", "diagonal_copy")
def _diagonal(call: OpCall, x: Tensor) -> Made:
    k = call.integer("offset", 0)
    a, b = call.axis("dim1", x.ndim, 0), call.axis("dim2", x.ndim, 1)
    order = [i for i in range(x.ndim) if i not in (a, b)]
    turned = lt.permute(x, (*order, a, b))
    rows, columns = turned.shape[-2:]
    count = max(0, min(rows - max(-k, 0), columns - max(k, 0)))
    places = (np.arange(count) + max(-k, 0)) * columns + np.arange(count) + max(k, 0)
    return lt.take(lt.reshape(turned, (*turned.shape[:-2], rows * columns)), call.array(places), turned.ndim - 2)


@operator("diag_embed")
def _diag_embed(call: OpCall, x: Tensor) -> Made:
    k = call.integer("offset", 0)
    a, b = call.axis("dim1", x.ndim + 1, -2), call.axis("dim2", x.ndim + 1, -1)
    n = x.shape[-1] + abs(k)
    rows = np.arange(n)[:, None] + k == np.arange(n)
    source = np.clip(np.arange(n) - max(k, 0), 0, x.shape[-1] - 1)
    spread = lt.take(x, call.array(source), x.ndim - 1)
    found = lt.where(call.array(rows), lt.expand_dims(spread, -2), call.full((), 0, x.dtype))
    return lt.moveaxis(found, (-2, -1), (a, b))


@operator("unfold")
def _unfold(call: OpCall, x: Tensor) -> Made:
    at = call.axis("dimension", x.ndim)
    return lt.windows(x, (at,), (call.integer("size"),), (call.integer("step"),))


# repetition and order


@operator("repeat", "tile")
def _repeat(call: OpCall, x: Tensor) -> Made:
    return lt.tile(x, tuple(call.integers("repeats" if call.base == "repeat" else "dims")))


@operator("repeat_interleave", ignores=("output_size",))
def _repeat_interleave(call: OpCall) -> Made:
    if not call.has("self"):
        raise call.refusal(
            "the length depends on elements", expected="repeat_interleave(x, n)", got="a tensor of repeats"
        )
    x, times = call.tensor(), call.value("repeats")
    if isinstance(times, Tensor):
        times = call.number_of(times, "repeats") if times.size == 1 else [int(n) for n in times.numpy()]
    if not call.has("dim"):
        call.value("dim")
        return lt.repeat(lt.reshape(x, (-1,)), times, axis=0)
    return lt.repeat(x, times, axis=call.axis("dim", x.ndim))


@operator("flip", "fliplr", "flipud")
def _flip(call: OpCall, x: Tensor) -> Made:
    axes = {"fliplr": (1,), "flipud": (0,)}.get(call.base) or call.axes("dims", x.ndim)
    return lt.reverse(x, axes) if axes else x


@operator("roll")
def _roll(call: OpCall, x: Tensor) -> Made:
    shifts = call.integers("shifts")
    axes = call.axes("dims", x.ndim)
    return lt.roll(x, shifts[0]) if axes is None else lt.roll(x, tuple(shifts), axis=axes)


@operator("rot90")
def _rot90(call: OpCall, x: Tensor) -> Made:
    times = call.integer("k", 1) % 4
    a, b = call.axes("dims", x.ndim) or (0, 1)
    if times == 2:
        return lt.reverse(x, (a, b))
    return (
        x if not times else lt.reverse(lt.transpose(x, a, b), a) if times == 1 else lt.transpose(lt.reverse(x, a), a, b)
    )


@operator("tril", "triu")
def _triangle(call: OpCall, x: Tensor) -> Made:
    return (lt.tril if call.base == "tril" else lt.triu)(x, k=call.integer("diagonal", 0))


@operator("meshgrid")
def _meshgrid(call: OpCall) -> Made:
    parts = [lt.reshape(p, (-1,)) for p in call.tensors()]
    return lt.meshgrid(*parts, indexing=cast("Any", call.value("indexing", "ij") or "ij"))


@operator("pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "native_channel_shuffle")
def _shuffle(call: OpCall, x: Tensor) -> Made:
    if "channel" in call.base:
        groups = call.integer("groups")
        split = lt.reshape(x, (x.shape[0], groups, x.shape[1] // groups, *x.shape[2:]))
        return lt.reshape(lt.transpose(split, 1, 2), x.shape)
    if call.base == "pixel_shuffle":
        return spread_channels(x, call.integer("upscale_factor"))
    return pixels_to_channels(x, call.integer("downscale_factor"))


# padding


def _pairs(x: Tensor, widths: Sequence[int]) -> list[tuple[int, int]]:
    """Return widths before and after for each axis, of those told from the last axis on."""
    pairs = [(0, 0)] * x.ndim
    for i in range(len(widths) // 2):
        pairs[x.ndim - 1 - i] = widths[2 * i], widths[2 * i + 1]
    return pairs


_MODES = {
    "reflect": "reflect",
    "replicate": "edge",
    "circular": "wrap",
    "reflection_pad": "reflect",
    "replication_pad": "edge",
}


@operator("pad", "constant_pad_nd")
def _pad(call: OpCall, x: Tensor) -> Made:
    mode = call.value("mode", "constant")
    pairs, value = _pairs(x, call.integers("pad")), call.value("value")
    if mode == "constant":
        return pad_by_number(x, pairs, 0 if value is None else value)
    return pad_by_places(x, pairs, _MODES[mode])


@operator("reflection_pad1d", "reflection_pad2d", "reflection_pad3d", "replication_pad1d", "replication_pad2d",
          "replication_pad3d")  # fmt: skip
def _pad_by_places(call: OpCall, x: Tensor) -> Made:
    return pad_by_places(x, _pairs(x, call.integers("padding")), _MODES[call.base[:-2]])
