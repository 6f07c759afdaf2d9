"""Operators that normalise: by batch, instance, group, layer, neighbours; and losses that are not bodies.

Layer: onnx. Invariant: means and variances are those of docs/numerics.md, section 2.
"""

from __future__ import annotations

import math
from typing import Any, TypeGuard

from loom import tensor as lt
from loom.importers.imagewindows import by_channel
from loom.importers.promotion import wide as wide_of
from loom.onnx.registry import Made, NodeCall, operator
from loom.onnx.values import Value
from loom.tensor.arrays.tensor import Tensor
from loom.tensor.record.graph import PARAMETER

__all__: list[str] = []


@operator("BatchNormalization", since=6, ignores=("consumed_inputs",))
def _batch_normalization(call: NodeCall) -> Made:
    x, scale, bias, mean, var = call.tensors()
    epsilon, momentum = call.real("epsilon", 1e-5), call.real("momentum", 0.9)
    training = call.flag("training_mode") if call.opset >= 14 else False
    if (call.opset < 9 and not call.integer("spatial", 1)) or (call.opset < 7 and not call.flag("is_test")):
        raise call.refusal("only by channels, and by means that are given", expected="spatial 1, is_test 1")
    run, places = call.scope.run, (call.value(3), call.value(4))
    if run is not None:
        training = run.training and (training or run.batch_statistics)
    wide = wide_of(x)
    parts: list[Tensor] = [lt.cast(p, wide.dtype) for p in (scale, bias, mean, var)]
    scale, bias, mean, var = parts
    if not training:
        factor = scale / lt.sqrt(var + epsilon)
        shift = bias - mean * factor
        return lt.cast(wide * by_channel(factor, x.ndim) + by_channel(shift, x.ndim), x.dtype)
    axes = (0, *range(2, x.ndim))
    own_mean, own_var = lt.mean(wide, axis=axes), lt.var(wide, axis=axes)
    factor = by_channel(scale / lt.sqrt(own_var + epsilon), x.ndim)
    found = (wide - by_channel(own_mean, x.ndim)) * factor + by_channel(bias, x.ndim)
    running = [old * momentum + new * (1 - momentum) for old, new in ((mean, own_mean), (var, own_var))]
    kept = [lt.cast(r, call.tensor(3).dtype) for r in running]
    if run is not None:
        run.updates.update({p.name: r for p, r in zip(places, kept, strict=True) if is_parameter(p)})
    return [lt.cast(found, x.dtype), *kept]


def is_parameter(value: Value) -> TypeGuard[Tensor]:
    """Tell whether a value is a place that training may write."""
    return isinstance(value, Tensor) and value.op is PARAMETER


@operator("InstanceNormalization", since=6)
def _instance_normalization(call: NodeCall) -> Made:
    x, scale, bias = call.tensors()
    axes = tuple(range(2, x.ndim))
    wide = wide_of(x)
    centred = wide - lt.mean(wide, axis=axes, keepdims=True)
    unit = centred / lt.sqrt(lt.var(wide, axis=axes, keepdims=True) + call.real("epsilon", 1e-5))
    found = unit * lt.cast(by_channel(scale, x.ndim), wide.dtype) + lt.cast(by_channel(bias, x.ndim), wide.dtype)
    return lt.cast(found, x.dtype)


@operator("LayerNormalization", "RMSNormalization", since=17)
def _layer_normalization(call: NodeCall, x: Tensor, scale: Tensor, bias: Tensor | None) -> Made:
    axes = tuple(range(call.axis(call.integer("axis", -1), x.ndim), x.ndim))
    held = call.element("stash_type", 1)
    wide: Any = lt.cast(x, held) if held is not None and held.bits > x.dtype.bits else x
    centred, mean = wide, None
    if call.name == "LayerNormalization":
        mean = lt.mean(wide, axis=axes, keepdims=True)
        centred = wide - mean
    deviation = lt.sqrt(lt.mean(centred * centred, axis=axes, keepdims=True) + call.real("epsilon", 1e-5))
    found = lt.cast(centred / deviation, x.dtype) * scale
    found = found if bias is None else found + bias
    if mean is None:
        return lt.cast(found, scale.dtype)
    return [found, mean, 1 / deviation]


@operator("LRN", since=1)
def _lrn(call: NodeCall, x: Tensor) -> Made:
    size = call.integer("size")
    alpha, beta, bias = call.real("alpha", 1e-4), call.real("beta", 0.75), call.real("bias", 1.0)
    widths = [(0, 0)] * x.ndim
    widths[1] = (size - 1) // 2, size - 1 - (size - 1) // 2
    found = lt.windows(lt.pad(x * x, widths), [1], [size], [1])
    return x / lt.pow(lt.sum(found, axis=-1) * (alpha / size) + bias, beta)


@operator("MeanVarianceNormalization", since=9)
def _mean_variance_normalization(call: NodeCall, x: Tensor) -> Made:
    axes = call.axes(call.integers("axes", [0, 2, 3]), x.ndim)
    centred = x - lt.mean(x, axis=axes, keepdims=True)
    return centred / (lt.sqrt(lt.mean(centred * centred, axis=axes, keepdims=True)) + 1e-9)


@operator("GroupNormalization", since=18)
def _group_normalization(call: NodeCall, x: Tensor, scale: Tensor, bias: Tensor) -> Made:
    groups = call.integer("num_groups")
    n, c = x.shape[:2]
    if groups < 1 or c % groups:
        raise call.refusal("groups do not divide the channels", expected=c, got=groups)
    held = call.element("stash_type", 1) if call.opset >= 21 else None
    wide: Any = lt.cast(x, held) if held is not None and held.bits > x.dtype.bits else x
    parts = lt.reshape(wide, (n, groups, c // groups * math.prod(x.shape[2:])))
    centred = parts - lt.mean(parts, axis=-1, keepdims=True)
    deviation = lt.sqrt(lt.mean(centred * centred, axis=-1, keepdims=True) + call.real("epsilon", 1e-5))
    unit = lt.cast(centred / deviation, x.dtype)
    if call.opset < 21:  # a scale for each group
        found = unit * lt.reshape(scale, (-1, 1)) + lt.reshape(bias, (-1, 1))
        return lt.reshape(found, x.shape)
    return lt.reshape(unit, x.shape) * by_channel(scale, x.ndim) + by_channel(bias, x.ndim)
