"""Losses, classes on the second axis as PyTorch has them.

Layer: pytorch. Invariant: a mean is over what counts; a class that there is not gives NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from loom import tensor as lt
from loom.importers.imagewindows import channels_last
from loom.importers.promotion import cast, wide
from loom.pytorch.registry import Made, OpCall, operator
from loom.tensor.arrays.tensor import Tensor

__all__: list[str] = []

_REDUCTIONS = ("none", "mean", "sum")


def _reduction(call: OpCall) -> str:
    return _REDUCTIONS[call.integer("reduction", 1)]


def _classes_last(x: Tensor) -> Tensor:
    return channels_last(x) if x.ndim > 2 else x


@operator("cross_entropy_loss")
def _cross_entropy(call: OpCall, x: Tensor, target: Tensor, weight: Tensor | None) -> Made:
    ignored, smooth = call.integer("ignore_index", -100), call.real("label_smoothing", 0)
    if target.dtype.is_float:
        target, ignored = _classes_last(target), None
    return cast(lt.cross_entropy(wide(_classes_last(x)), target, weight=weight, ignore_index=ignored,
                                 label_smoothing=smooth,
                                 reduction=_reduction(call)), x.dtype)  # fmt: skip


@operator("nll_loss", "nll_loss_nd", "nll_loss2d", "nll_loss_forward", "nll_loss2d_forward")
def _nll(call: OpCall, x: Tensor, target: Tensor, weight: Tensor | None) -> Made:
    ignored, how = call.integer("ignore_index", -100), _reduction(call)
    last = _classes_last(x)
    found = lt.nll(last, target, weight=weight, ignore_index=ignored, reduction=how)
    if not call.base.endswith("forward"):
        return found
    counts = lt.cast(lt.not_equal(target, ignored), x.dtype)
    if weight is not None:
        counts = counts * lt.gather(weight, lt.where(lt.not_equal(target, ignored), target, 0))
    return [found, lt.sum(counts) if how != "none" else call.full((), 0, x.dtype)]


def _reduce(each: Tensor, reduction: str) -> Tensor:
    return each if reduction == "none" else lt.mean(each) if reduction == "mean" else lt.sum(each)


def _soft_margin(x: Tensor, y: Tensor, reduction: str) -> Tensor:
    return _reduce(lt.softplus(-(x * y)), reduction)


_PAIRS: dict[str, Callable[..., Tensor]] = {
    "mse_loss": lt.mse, "l1_loss": lt.mae, "smooth_l1_loss": lt.smooth_l1, "huber_loss": lt.huber,
    "binary_cross_entropy": lt.bce, "binary_cross_entropy_with_logits": lt.bce_with_logits, "kl_div": lt.kl_div,
    "hinge_embedding_loss": lt.hinge, "poisson_nll_loss": lt.poisson_nll, "soft_margin_loss": _soft_margin,
}  # fmt: skip
_OPTIONS: dict[str, dict[str, str]] = {
    "smooth_l1_loss": {"beta": "beta"}, "huber_loss": {"delta": "delta"}, "kl_div": {"log_target": "log_target"},
    "binary_cross_entropy": {"weight": "weight"},
    "hinge_embedding_loss": {"margin": "margin"},
    "poisson_nll_loss": {"log_input": "log_input", "full": "full", "eps": "eps"},
}  # fmt: skip


@operator(*_PAIRS)
def _pair(call: OpCall) -> Made:
    x = call.tensor("input" if call.has("input") else "self")
    target = cast(call.tensor("target"), x.dtype)
    options: dict[str, Any] = {there: call.value(name) for name, there in _OPTIONS.get(call.base, {}).items()}
    a, b = lt.broadcast_arrays(wide(x), wide(target))
    how = _reduction(call)
    if call.base == "binary_cross_entropy_with_logits":
        weight, positive = call.maybe("weight"), call.maybe("pos_weight")
        each = lt.bce_with_logits(a, b, pos_weight=positive, reduction="none")
        each = each if weight is None else each * weight
        found = _reduce(each, how)
    else:
        found = _PAIRS[call.base](a, b, **options, reduction=how)
    return cast(found, x.dtype)


@operator("margin_ranking_loss", "cosine_embedding_loss", "triplet_margin_loss")
def _margins(call: OpCall) -> Made:
    how, margin = _reduction(call), call.real("margin")
    if call.base == "cosine_embedding_loss":
        a, b, target = (call.tensor(n) for n in ("input1", "input2", "target"))
        return lt.cosine_embedding(a, b, target, margin, reduction=how)
    if call.base == "triplet_margin_loss":
        a, b, c = (call.tensor(n) for n in ("anchor", "positive", "negative"))
        return lt.triplet_margin(
            a, b, c, margin, call.real("p", 2), call.real("eps", 1e-6), swap=call.flag("swap"), reduction=how
        )
    a, b, target = (call.tensor(n) for n in ("input1", "input2", "target"))
    return _reduce(lt.maximum(-target * (a - b) + margin, 0), how)


@operator("multilabel_margin_loss", "multilabel_margin_loss_forward")
def _multilabel_margin(call: OpCall, x: Tensor, target: Tensor) -> Made:
    """Record it by its formula: PyTorch's decomposition counts the places behind the -1 as class 0."""
    how = _reduction(call)
    held, classes = wide(x), call.array(range(x.shape[-1]))
    told = lt.equal(lt.cumsum(lt.cast(lt.equal(target, -1), "i64"), -1), 0)
    named = lt.where(told, target, -1)
    wanted = lt.any(lt.equal(lt.expand_dims(named, -1), classes), axis=-2)
    own = lt.expand_dims(lt.take_along_axis(held, lt.where(told, target, 0), -1), -1)
    far = (lt.expand_dims(held, -2) - own + 1.0).relu() / x.shape[-1]
    counts = lt.logical_and(lt.expand_dims(told, -1), lt.logical_not(lt.expand_dims(wanted, -2)))
    each = lt.sum(lt.where(counts, far, 0.0), axis=(-2, -1))
    found = cast(_reduce(each, how), x.dtype)
    return found if call.base == "multilabel_margin_loss" else [found, lt.cast(wanted, x.dtype)]
