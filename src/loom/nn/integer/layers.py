"""What each layer records in integers: its output, and the way back.

Layer: nn. Sums of products are exact; each output is rounded once. Invariant: a layer that has no rule here is refused
by its name, never computed in floats.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from loom import tensor
from loom.core.dtype import i64
from loom.core.errors import ArgumentError
from loom.nn.base.random import RandomStream, keep_mask
from loom.nn.integer.fixed import Exponent, align, divide_even, larger, round_even
from loom.nn.integer.functions import apply_function, is_early
from loom.nn.integer.fused import multiply_and_round
from loom.nn.integer.record import HELD, IntegerPass, Quantity, bits_of, most_of, product
from loom.nn.spec import Activation, Layer, Shared
from loom.nn.spec.layers.combine import Combine, Merge
from loom.nn.spec.layers.conv import Conv1D, Conv2D
from loom.nn.spec.layers.dense import Dense, Stitch
from loom.nn.spec.layers.lora import Adaptable
from loom.nn.spec.layers.nested import Residual, Sequential
from loom.nn.spec.layers.pool import AveragePool, MaxPool
from loom.nn.spec.layers.shaping import ActivationLayer, Dropout, Flatten, Reshape
from loom.nn.spec.layers.softmax import Softmax, Variant
from loom.tensor import Tensor
from loom.tensor.ops.joining import place

__all__ = ["OUTPUT_BITS", "record_layer", "refuse", "shift_only"]

OUTPUT_BITS = 15
"""What the network gives in the end has 16 bits in every type."""


def refuse(layer: Layer, name: str, why: str, remedy: str) -> ArgumentError:
    """Return the error for what has no rule in integers."""
    return ArgumentError(f"loom.nn.integer, layer {name!r}", f"{layer.kind} {why} in integers",
                         expected=", ".join(sorted(c.kind for c in _LAYERS)), got=layer.kind,
                         remedy=remedy)  # fmt: skip


def record_layer(
    rec: IntegerPass, layer: Layer, x: Quantity | Sequence[Quantity], name: str, *, last: bool
) -> Quantity:
    """Record a layer called ``name`` on ``x`` (a merge: on several); ``last``: it gives an output of the network."""
    if isinstance(layer, Shared):
        return record_layer(rec, layer.layer, x, layer.target, last=last)
    if isinstance(layer, Adaptable) and layer.lora is not None:
        raise refuse(layer, name, "with adapters has no rule", "Merge them first: structure.merge_lora(network)")
    record = _LAYERS.get(type(layer))
    if record is None:
        raise refuse(layer, name, "has no rule", "Use a network of floats, or leave the layer out")
    return record(rec, layer, x, name, last)


def _bias(rec: IntegerPass, name: str, v: Tensor, e: Exponent, shape: tuple[int, ...]) -> Tensor:
    held = rec.weights.get(f"{name}.bias")
    if held is None:
        return v
    return v + tensor.reshape(align(held.q.astype(i64), held.e - e), shape)


def _sums(rec: IntegerPass, function: Activation, v: Tensor, e: Exponent, name: str, last: bool) -> Quantity:
    """Return sums rounded, relu taken before."""
    return rec.place(name, tensor.maximum(v, 0) if function is Activation.RELU else v, e, OUTPUT_BITS if last else None)


def _passing(function: Activation, sums: Quantity, g: Quantity) -> Tensor:
    """Return the gradient of sums of which relu was taken, or of which it was not."""
    return tensor.where(sums.q > 0, g.q, 0) if function is Activation.RELU else g.q


def _function(rec: IntegerPass, function: Activation, sums: Quantity, name: str, last: bool) -> Quantity:
    if is_early(function):
        return sums
    return apply_function(rec, function, sums, name, OUTPUT_BITS if last else rec.bits)


def _dense(rec: IntegerPass, config: Any, x: Any, name: str, last: bool) -> Quantity:
    function = getattr(config, "activation", Activation.LINEAR)
    weight = rec.weights[f"{name}.weight"]
    k, n = weight.q.shape
    shape = (*x.q.shape[:-1], n)
    made = _product_by_kernel(rec, x, function, lambda: tensor.reshape(x.q, (-1, k)), name, last)
    if made is not None:
        flat = made if made.q.shape == shape else _reshape(made, lambda q: tensor.reshape(q, shape))
        return _function(rec, function, flat, name, last)
    rows = tensor.reshape(x.q, (-1, k))
    e = x.e + weight.e
    v = _bias(rec, name, product(rows, weight.q, name), e, (1, n))
    sums = _sums(rec, function, tensor.reshape(v, shape), e, name, last)

    def back(g: Quantity) -> list[Quantity]:
        flat = tensor.reshape(_passing(function, sums, g), (-1, n))
        rec.give(f"{name}.weight", product(tensor.transpose(rows), flat, name), x.e + g.e, rows.shape[0])
        if f"{name}.bias" in rec.weights:
            rec.give(f"{name}.bias", flat.astype(i64).sum(0), g.e)
        v = tensor.reshape(product(flat, tensor.transpose(weight.q), name), x.q.shape)
        return [rec.narrow(v, g.e + weight.e)]

    return _function(rec, function, rec.did(sums, [x], back), name, last)


def _product_by_kernel(
    rec: IntegerPass, x: Quantity, function: Activation, rows: Callable[[], Tensor], name: str, last: bool
) -> Any:
    """Return rounded sums (rows, outputs) by one kernel, if this is inference in int8."""
    if rec.kind != "infer":
        return None
    weight = rec.weights[f"{name}.weight"].q.numpy()
    matrix = weight if weight.ndim == 2 else weight.reshape(len(weight), -1).T
    bits = OUTPUT_BITS if last else rec.bits
    return multiply_and_round(rec, x, rows, name, matrix, bits, relu=function is Activation.RELU)


def _reshape(x: Quantity, view: Callable[[Tensor], Tensor]) -> Quantity:
    return Quantity(view(x.q), x.e)


def _columns(x: Tensor, window: Sequence[int], steps: Sequence[int], around: Sequence[int]) -> Tensor:
    """Return windows as rows: (batch, *places, channels, *window)."""
    d = len(window)
    padded = tensor.pad(x, [(0, 0), (0, 0), *((p, p) for p in around)])
    found = tensor.windows(padded, range(2, d + 2), window, steps)
    return tensor.permute(found, (0, *range(2, d + 2), 1, *range(d + 2, 2 * d + 2)))


def _conv(rec: IntegerPass, config: Any, x: Any, name: str, last: bool) -> Quantity:
    weight = rec.weights[f"{name}.weight"]
    filters, channels, *window = weight.q.shape
    d, k = len(window), math.prod(weight.q.shape[1:])
    steps, around = ([v] * d if isinstance(v, int) else list(v) for v in (config.stride, config.padding))
    found = _columns(x.q, window, steps, around)
    batch, *places = found.shape[: d + 1]

    def in_planes(q: Tensor) -> Tensor:
        return tensor.permute(tensor.reshape(q, (batch, *places, filters)), (0, d + 1, *range(1, d + 1)))

    made = _product_by_kernel(rec, x, config.activation,
                  lambda: tensor.reshape(_columns(x.q, window, steps, around), (-1, k)), name, last)  # fmt: skip
    if made is not None:
        return _function(rec, config.activation, _reshape(made, in_planes), name, last)
    rows = tensor.reshape(found, (-1, k))
    matrix = tensor.reshape(weight.q, (filters, k))
    e = x.e + weight.e
    flat = _bias(rec, name, product(rows, tensor.transpose(matrix), name), e, (1, filters))
    sums = _sums(rec, config.activation, in_planes(flat), e, name, last)

    def back(g: Quantity) -> list[Quantity]:
        down = tensor.reshape(
            tensor.permute(_passing(config.activation, sums, g), (0, *range(2, d + 2), 1)), (-1, filters)
        )
        found = product(tensor.transpose(down), rows, name)
        rec.give(f"{name}.weight", tensor.reshape(found, weight.q.shape), x.e + g.e, rows.shape[0])
        if f"{name}.bias" in rec.weights:
            rec.give(f"{name}.bias", down.astype(i64).sum(0), g.e)
        spread = tensor.reshape(product(down, matrix, name), (batch, *places, channels, *window))
        return [rec.narrow(_gather(spread, x.q.shape, window, steps, around), g.e + weight.e)]

    return _function(rec, config.activation, rec.did(sums, [x], back), name, last)


def _gather(parts: Tensor, shape: Sequence[int], window: Sequence[int], steps: Sequence[int],
            around: Sequence[int]) -> Tensor:  # fmt: skip
    """Return what windows (batch, *places, channels, *window) add up to where they were read."""
    d = len(window)
    whole = [n + 2 * p for n, p in zip(shape[2:], around, strict=True)]
    total: Any = None
    for at in np.ndindex(*window):
        part = parts[(..., *(int(i) for i in at))]
        part = tensor.permute(part, (0, d + 1, *range(1, d + 1)))
        put = place(part, (*shape[:2], *whole), [0, 0, *(int(i) for i in at)], [1, 1, *steps])
        total = put if total is None else total + put
    return total[(..., *(slice(p, p + n) for p, n in zip(around, shape[2:], strict=True)))]


def _pool_sizes(config: Any, x: Quantity) -> tuple[Any, Any, Any]:
    axes = x.q.ndim - 2
    return config.pool_size[-axes:], config.strides[-axes:], config.padding[-axes:]


def _parts(x: Tensor, sizes: Sequence[int], steps: Sequence[int]) -> list[tuple[tuple[int, ...], Tensor]]:
    """Return the elements at each place of all windows."""
    counts = [(n - s) // t + 1 for n, s, t in zip(x.shape[2:], sizes, steps, strict=True)]
    found: list[Any] = []
    for at in np.ndindex(*sizes):
        part = [slice(i, i + (c - 1) * t + 1, t) for i, c, t in zip(at, counts, steps, strict=True)]
        found.append((tuple(int(i) for i in at), x[(..., *part)]))
    return found


def _max_pool(rec: IntegerPass, config: Any, x: Any, name: str, last: bool) -> Quantity:
    del last, name
    sizes, steps, around = _pool_sizes(config, x)
    least = -most_of(15) - 1 if x.q.dtype.bits == 16 else -most_of(7) - 1
    padded = tensor.pad(x.q, [(0, 0), (0, 0), *((p, p) for p in around)], least) if any(around) else x.q
    parts = _parts(padded, sizes, steps)
    whole = parts[0][1]
    for _, part in parts[1:]:
        whole = tensor.maximum(whole, part)
    out = Quantity(whole, x.e)

    def back(g: Quantity) -> list[Quantity]:
        total: Any = None
        taken: Any = None
        for at, part in parts:
            is_it = part == whole if taken is None else (part == whole) & ~taken
            taken = is_it if taken is None else taken | is_it
            part_of = tensor.where(is_it, g.q, 0).astype(i64)
            put = place(part_of, padded.shape, [0, 0, *at], [1, 1, *steps])
            total = put if total is None else total + put
        inner = total[(..., *(slice(p, p + n) for p, n in zip(around, x.q.shape[2:], strict=True)))]
        return [rec.narrow(inner, g.e)]

    return rec.did(out, [x], back)


def _average_pool(rec: IntegerPass, config: Any, x: Any, name: str, last: bool) -> Quantity:
    del last
    sizes, steps, around = _pool_sizes(config, x)
    if any(around):
        raise refuse(config, name, "with padding has no rule", "Use padding 0, or max_pool")
    count = math.prod(sizes)
    parts = _parts(x.q, sizes, steps)
    total: Any = parts[0][1].astype(i64)
    for _, part in parts[1:]:
        total = total + part
    out = Quantity(divide_even(total, count).astype(x.q.dtype), x.e)
    share = round((1 << 15) / count)

    def back(g: Quantity) -> list[Quantity]:
        each = g.q.astype(i64) * share
        found: Any = None
        for at, _ in parts:
            put = place(each, x.q.shape, [0, 0, *at], [1, 1, *steps])
            found = put if found is None else found + put
        return [rec.narrow(found, g.e - 15)]

    return rec.did(out, [x], back)


def shift_only(rec: IntegerPass, x: Quantity, shape: tuple[int, ...]) -> Quantity:
    """Return the same numbers in another shape of each sample."""
    out = _reshape(x, lambda q: tensor.reshape(q, (x.q.shape[0], *shape)))
    before = x.q.shape
    return rec.did(out, [x], lambda g: [Quantity(tensor.reshape(g.q, before), g.e)])


def _flatten(rec: IntegerPass, config: Any, x: Any, name: str, last: bool) -> Quantity:
    del name, last
    return shift_only(rec, x, config.output_shape(x.q.shape[1:]))


def _activation(rec: IntegerPass, config: Any, x: Any, name: str, last: bool) -> Quantity:
    return apply_function(rec, config.function, x, name, OUTPUT_BITS if last else rec.bits)


def _softmax(rec: IntegerPass, config: Any, x: Any, name: str, last: bool) -> Quantity:
    if config.variant is not Variant.STANDARD or config.temperature != 1.0:
        raise refuse(config, name, f"of variant {config.variant.value!r} and temperature {config.temperature:g} "
                     "has no rule", "Use the standard softmax of temperature 1")  # fmt: skip
    return apply_function(rec, Activation.SOFTMAX, x, name, OUTPUT_BITS if last else rec.bits)


def _dropout(rec: IntegerPass, config: Any, x: Any, name: str, last: bool) -> Quantity:
    del last, name
    if not rec.is_training or config.rate == 0:
        return x
    keep = keep_mask(rec.words(x.q.shape, RandomStream.DROPOUT), config.rate)
    up = max(0, math.ceil(-math.log2(1 - config.rate)))
    factor = round((1 << 14) / (1 - config.rate) / (1 << up))  # in units of 2^(up - 14)

    def drop(q: Tensor) -> Tensor:
        return tensor.where(keep, round_even(q.astype(i64) * factor, 14), 0)

    out = Quantity(drop(x.q).astype(x.q.dtype), x.e + up)
    return rec.did(out, [x], lambda g: [Quantity(drop(g.q).astype(g.q.dtype), g.e + up)])


def _sequential(rec: IntegerPass, config: Any, x: Any, name: str, last: bool) -> Quantity:
    for i, layer in enumerate(config.layers):
        x = record_layer(rec, layer, x, f"{name}.layers.{i}", last=last and i == len(config.layers) - 1)
    return x


def _residual(rec: IntegerPass, config: Any, x: Any, name: str, last: bool) -> Quantity:
    return _sum(rec, [x, _sequential(rec, config, x, name, False)], name, last)


_GUARD = 24
"""Bits below the coarsest of several addends that are kept while they are added."""


def _sum(rec: IntegerPass, given: Sequence[Quantity], name: str, last: bool, divide: int = 1) -> Quantity:
    top = given[0].e
    for each in given[1:]:
        top = larger(top, each.e)
    base = top - _GUARD
    total: Any = None
    for each in given:
        part = align(each.q.astype(i64), each.e - base)
        total = part if total is None else total + part
    total = total if divide == 1 else divide_even(total, divide)
    out = rec.place(name, total, base, OUTPUT_BITS if last else None)
    share = round((1 << 15) / divide)

    def back(g: Quantity) -> list[Quantity]:
        part = g if divide == 1 else rec.narrow(g.q.astype(i64) * share, g.e - 15)
        return [part for _ in given]

    return rec.did(out, given, back)


def _merge(rec: IntegerPass, config: Any, x: Any, name: str, last: bool) -> Quantity:
    if config.combine_mode is Combine.ADD or config.combine_mode is Combine.AVG:
        return _sum(rec, x, name, last, len(x) if config.combine_mode is Combine.AVG else 1)
    if config.combine_mode is Combine.MULTIPLY:
        raise refuse(config, name, "of combine_mode 'multiply' has no rule", "Use add, avg or concat")
    axis = config.axis if config.axis < 0 else config.axis + 1
    top: Exponent = x[0].e
    for each in x[1:]:
        top = larger(top, each.e)
    held = HELD[max(bits_of(each.q) for each in x)]
    parts = [align(each.q.astype(i64), each.e - top).astype(held) for each in x]
    out = Quantity(tensor.concat(parts, axis), top)
    cuts = [each.q.shape[axis] for each in x]

    def back(g: Quantity) -> list[Quantity]:
        found: list[Quantity] = []
        at = 0
        for size in cuts:
            part: list[Any] = [slice(None)] * g.q.ndim
            part[axis] = slice(at, at + size)
            found.append(Quantity(g.q[tuple(part)], g.e))
            at += size
        return found

    return rec.did(out, x, back)


_LAYERS: dict[type[Layer], Callable[[IntegerPass, Any, Any, str, bool], Quantity]] = {
    Dense: _dense,
    Stitch: _dense,
    Conv1D: _conv,
    Conv2D: _conv,
    MaxPool: _max_pool,
    AveragePool: _average_pool,
    Flatten: _flatten,
    Reshape: _flatten,
    ActivationLayer: _activation,
    Softmax: _softmax,
    Dropout: _dropout,
    Sequential: _sequential,
    Residual: _residual,
    Merge: _merge,
}
"""Config class -> what it records."""
