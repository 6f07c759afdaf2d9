"""Operators that draw: dropout in training, and random numbers, by Loom's generator.

Layer: pytorch. Invariant: what is drawn depends on the model's seed, the step and the operator's place in the graph
alone; it is not what PyTorch draws.
"""

from __future__ import annotations

import math

from loom import tensor as lt
from loom.importers.promotion import cast, wide
from loom.nn.base.random import keep_mask
from loom.pytorch.registry import Made, OpCall, operator
from loom.tensor.arrays.tensor import Tensor

__all__: list[str] = []


@operator("dropout", "feature_dropout", "native_dropout")
def _dropout(call: OpCall, x: Tensor) -> Made:
    p = call.real("p")
    if not call.flag("train", True):
        return x if call.base != "native_dropout" else [x, call.full(x.shape, True, lt.bool)]
    if call.base == "feature_dropout":
        ones = lt.ones((*x.shape[:2], *(1,) * (x.ndim - 2)), x.dtype)
        return x * call.drop(ones, p)[0]
    found, keep = call.drop(x, p)
    return [found, keep] if call.base == "native_dropout" else found


@operator("alpha_dropout")
def _alpha_dropout(call: OpCall, x: Tensor) -> Made:
    p = call.real("p")
    if not call.flag("train") or p == 0:
        return x
    alpha = -1.7580993408473766
    a = 1 / math.sqrt((1 - p) * (1 + p * alpha * alpha))
    keep = keep_mask(call.words(x.shape), p)
    return lt.where(keep, x, alpha) * a - a * alpha * p


@operator("bernoulli")
def _bernoulli(call: OpCall, x: Tensor) -> Made:
    p = call.value("p")
    drawn = call.words(x.shape)
    if p is None or isinstance(p, Tensor):
        chance = wide(x if p is None else p)
        return cast(lt.cast(drawn, "f64") * 2.0**-32 < lt.cast(chance, "f64"), call.out)
    return cast(lt.logical_not(keep_mask(drawn, float(p))) if p < 1 else call.full(x.shape, True, lt.bool), call.out)


def _uniform(call: OpCall, shape: tuple[int, ...]) -> Tensor:
    words = call.words(shape)
    return lt.cast(words.map("shr", 8), "f32") * 2.0**-24


@operator("rand", "rand_like", "uniform")
def _rand(call: OpCall) -> Made:
    shape = tuple(call.integers("size")) if call.has("size") else call.tensor().shape
    low, high = call.real("from", 0), call.real("to", 1)
    drawn = _uniform(call, shape)
    return cast(drawn if (low, high) == (0, 1) else drawn * (high - low) + low, call.out)


@operator("randn", "randn_like", "normal_functional")
def _randn(call: OpCall) -> Made:
    shape = tuple(call.integers("size")) if call.has("size") else call.tensor().shape
    mean, std = call.real("mean", 0), call.real("std", 1)
    first, second = (_uniform(call, shape) for _ in range(2))
    drawn = lt.sqrt(lt.log(first + 2.0**-25) * -2.0) * (second * (2 * math.pi)).map("cos")
    return cast(drawn if (mean, std) == (0, 1) else drawn * std + mean, call.out)
