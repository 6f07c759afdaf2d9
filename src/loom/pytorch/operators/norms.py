"""Normalisations; those of a batch leave their running statistics as values that the state takes.

Layer: pytorch. f16 and bf16 are computed in f32 and rounded once. Invariant: variances are of two passes.
"""

from __future__ import annotations

import math
from typing import Any

from loom import tensor as lt
from loom.importers.imagewindows import by_channel, channels_first, channels_last
from loom.importers.promotion import cast, wide
from loom.pytorch.registry import Made, OpCall, operator
from loom.tensor.arrays.tensor import Tensor

__all__: list[str] = []


def _of_channels(a: Tensor | None, x: Tensor) -> Tensor | None:
    return None if a is None else by_channel(wide(a), x.ndim)


def _standardize(x: Tensor, axes: tuple[int, ...], eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return x less its mean over its deviation, the mean, and one over the deviation; with the derivative of both."""
    mean = lt.mean(x, axis=axes, keepdims=True)
    away = x - mean
    variance = lt.mean(away * away, axis=axes, keepdims=True)
    scale = (variance + eps).map("rsqrt")

    def vjp(node: Any, g: Any) -> list[Any]:
        along = lt.mean(g * node, axis=axes, keepdims=True)
        return [(g - lt.mean(g, axis=axes, keepdims=True) - node * along) * scale]

    return lt.routed(away * scale, [x], vjp), mean, variance


def _affine(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def _batch_normalised(call: OpCall, training: bool) -> list[Tensor]:
    """Return the result, mean, one over the deviation, and the new running mean and variance."""
    x, eps, momentum = call.tensor("input"), call.real("eps"), call.value("momentum", 0.1)
    weight, bias = (_of_channels(call.maybe(n), x) for n in ("weight", "bias"))
    running = [call.maybe(n) for n in ("running_mean", "running_var")]
    held = wide(x)
    if not training:
        mean, var = (_of_channels(r, x) for r in running)
        if mean is None or var is None:
            raise call.refusal("there are no running statistics", expected="running_mean and running_var", got="none")
        found = _affine((held - mean) * (var + eps).map("rsqrt"), weight, bias)
        empty = lt.zeros((0,), held.dtype)
        return [cast(found, x.dtype), empty, empty, *(r for r in running if r is not None)]
    axes = (0, *range(2, x.ndim))
    y, mean, var = _standardize(held, axes, eps)
    count = math.prod(x.shape[a] for a in axes)
    flat = [lt.detach(lt.reshape(t, (-1,))) for t in (mean, var)]
    batch = [flat[0], flat[1] * (count / max(1, count - 1))]
    share = 0.0 if momentum is None else float(momentum)
    moved = [cast(wide(old) * (1 - share) + new * share, old.dtype) for old, new in zip(running, batch, strict=True)
             if old is not None]  # fmt: skip
    return [cast(_affine(y, weight, bias), x.dtype), flat[0], (flat[1] + eps).map("rsqrt"), *moved]


@operator("batch_norm")
def _batch_norm(call: OpCall) -> Made:
    training = call.flag("training") or not call.has("running_mean")
    return _batch_normalised(call, training)[0]


@operator("_native_batch_norm_legit_functional", "_native_batch_norm_legit.no_stats",
          "_native_batch_norm_legit_no_training",
          "native_batch_norm", "_batch_norm_with_update_functional", "_batch_norm_no_update")  # fmt: skip
def _native_batch_norm(call: OpCall) -> Made:
    training = call.flag("training", call.base == "_batch_norm_with_update_functional")
    found = _batch_normalised(call, training)
    if call.base.startswith("_batch_norm"):
        found.insert(3, lt.zeros((0,), "u8"))
    return found


@operator("layer_norm", "native_layer_norm", "rms_norm", "_fused_rms_norm")
def _layer_norm(call: OpCall, x: Tensor) -> Made:
    d = len(call.integers("normalized_shape"))
    axes = tuple(range(x.ndim - d, x.ndim))
    weight, bias = call.maybe("weight"), call.maybe("bias")
    weight, bias = (None if a is None else wide(a) for a in (weight, bias))
    eps, held = call.value("eps"), wide(x)
    if "rms" in call.base:
        small = float(lt.finfo(held.dtype).eps) if eps is None else float(eps)
        scale = (lt.mean(held * held, axis=axes, keepdims=True) + small).map("rsqrt")
        found = cast(_affine(held * scale, weight, None), x.dtype)
        return found if call.base == "rms_norm" else [found, scale]
    y, mean, var = _standardize(held, axes, float(eps))
    found = cast(_affine(y, weight, bias), x.dtype)
    return found if call.base == "layer_norm" else [found, mean, (var + float(eps)).map("rsqrt")]


@operator("group_norm", "native_group_norm", ignores=("N", "C", "HxW"))
def _group_norm(call: OpCall, x: Tensor) -> Made:
    groups = call.integer("num_groups" if call.base == "group_norm" else "group")
    weight, bias = (_of_channels(call.maybe(n), x) for n in ("weight", "bias"))
    held = lt.reshape(wide(x), (x.shape[0], groups, -1))
    y, mean, var = _standardize(held, (2,), call.real("eps"))
    found = cast(_affine(lt.reshape(y, x.shape), weight, bias), x.dtype)
    if call.base == "group_norm":
        return found
    return [found, lt.reshape(mean, (-1, groups)), lt.reshape((var + call.real("eps")).map("rsqrt"), (-1, groups))]


@operator("instance_norm", ignores=("running_mean", "running_var", "momentum"))
def _instance_norm(call: OpCall, x: Tensor) -> Made:
    if not call.flag("use_input_stats", True) or call.has("running_mean"):
        raise call.refusal("running statistics of an instance norm", expected="track_running_stats=False", got="True")
    weight, bias = (_of_channels(call.maybe(n), x) for n in ("weight", "bias"))
    y = _standardize(wide(x), tuple(range(2, x.ndim)), call.real("eps"))[0]
    return cast(_affine(y, weight, bias), x.dtype)


@operator("local_response_norm")
def _local_response_norm(call: OpCall) -> Made:
    x = call.tensor("input")
    found = lt.local_response_norm(
        channels_last(x), call.integer("size"), call.real("alpha"), call.real("beta"), call.real("k")
    )
    return channels_first(found)


@operator("normalize")
def _normalize(call: OpCall) -> Made:
    x = call.tensor("input")
    return lt.normalize(x, call.real("p", 2), call.axis("dim", x.ndim, 1), call.real("eps", 1e-12))
