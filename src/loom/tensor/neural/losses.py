"""Losses, named as those of torch without "loss"; classes and components are the last axis.

Layer: tensor. ``reduction`` is "mean" (by default), "sum" or "none". Invariant: nothing overflows where the loss is
finite, and no gradient is NaN there.
"""

from __future__ import annotations

import math
from typing import Any

from loom.core.errors import ArgumentError, DTypeError, ShapeError
from loom.core.given import flag
from loom.core.numbers import real, whole
from loom.tensor.arrays.functions import is_class, log_softmax, reduce_loss, same_shape
from loom.tensor.arrays.tensor import Tensor
from loom.tensor.neural.activations import logsigmoid, wide
from loom.tensor.ops.elementwise import apply, cast, where
from loom.tensor.ops.reductions import max_of, sum_of
from loom.tensor.ops.views import expand_dims, routed
from loom.tensor.record.graph import require_tensor
from loom.tensor.standard.elementwise import maximum

__all__ = [
    "bce", "bce_with_logits", "cdist", "cosine_embedding", "cosine_similarity", "cross_entropy", "gaussian_nll",
    "hinge", "kl_div", "multi_margin", "nll", "pairwise_distance", "poisson_nll", "smooth_l1", "triplet_margin",
]  # fmt: skip


def nll(
    log_probabilities: Tensor, target: Tensor, *, weight: Tensor | None = None, ignore_index: int | None = None,
    reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """Return minus the log probability of the class ``target`` (integers, without the last axis).

    ``weight``: a factor for each class, which a mean is divided by the sum of. ``ignore_index``: a class whose elements
    count nowhere. NaN for a class that there is not, -1 too.

    Args:
        log_probabilities: Tensor (.., classes).
        target: Tensor of classes (integers, without the last axis).
        weight: Tensor of a factor for each class, or for each element; None: ones.
        ignore_index: Class that counts nowhere; None: all count.
        reduction: "mean", "sum" or "none": of the losses of all elements, or each by itself.

    Raises:
        ArgumentError: An operand is no tensor; not a whole number.
        DTypeError: Classes are no integers.
        ShapeError: Targets do not fit.
    """
    for x in (log_probabilities, target):
        require_tensor(x, "nll")
    if not target.dtype.is_integer:
        raise DTypeError("nll", "classes are no integers", expected="an integer type", got=target.dtype,
                         remedy="Convert with astype")  # fmt: skip
    if target.shape != log_probabilities.shape[:-1]:
        raise ShapeError("nll", "targets do not fit", expected=log_probabilities.shape[:-1], got=target.shape,
                         remedy="One class for each row")  # fmt: skip
    classes = log_probabilities.shape[-1]
    each = -sum_of(where(is_class(target, classes), log_probabilities, 0), -1)
    factors = None if weight is None else _class_weights(weight, classes, target, "nll", each.dtype)
    each = each if factors is None else each * factors
    return _mean_by_weights(_nan_outside(each, target, classes), target, factors, ignore_index, reduction)


def _nan_outside(each: Tensor, target: Tensor, classes: int) -> Tensor:
    """Return losses, NaN for a class that there is not."""
    if target.dtype.maximum >= classes:
        each = where(target < classes, each, math.nan)
    return where(target >= 0, each, math.nan) if target.dtype.is_signed else each


def _class_weights(weight: Any, classes: int, target: Tensor, name: str, dtype: Any) -> Tensor:
    """Return the weight of each element's class."""
    require_tensor(weight, f"{name}, weight")
    if weight.shape != (classes,):
        raise ShapeError(f"{name}, weight", "not one for each class", expected=(classes,), got=weight.shape,
                         remedy="Match the last axis")  # fmt: skip
    return sum_of(where(is_class(target, classes), cast(weight, dtype), 0), -1)


def _mean_by_weights(each: Tensor, target: Tensor, factors: Any, ignored: Any, reduction: str) -> Tensor:
    """Return the loss of elements: a mean is that by the sum of weights, without those that are ignored."""
    if ignored is None and factors is None:
        return reduce_loss(each, reduction)
    left = None
    if ignored is not None:
        number = whole(ignored, "nll, ignore_index")
        if target.dtype.minimum <= number <= target.dtype.maximum:
            left = apply("eq", target, number)
            each = where(left, 0, each)
    if reduction != "mean" or (left is None and factors is None):
        return reduce_loss(each, reduction)
    counted = factors if factors is not None else each * 0 + 1
    counted = counted if left is None else where(left, 0, counted)
    return sum_of(each) / sum_of(counted)


def cross_entropy(
    logits: Tensor, target: Tensor, *, weight: Tensor | None = None, ignore_index: int | None = None,
    label_smoothing: float = 0.0, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """Return the cross-entropy of softmax(logits) and ``target``: classes as ``nll`` takes them, or probabilities.

    ``label_smoothing``: the part of each target that is spread evenly over all classes. Of probabilities a mean is over
    all elements, as torch's; ``ignore_index`` is for classes.

    Args:
        logits: Tensor of logits, floats of any shape.
        target: Tensor of classes (integers, without the last axis), or of probabilities.
        weight: Tensor of a factor for each class, or for each element; None: ones.
        ignore_index: Class that counts nowhere; None: all count.
        label_smoothing: Share of the weight that all classes have alike, from 0 to 1.
        reduction: "mean", "sum" or "none": of the losses of all elements, or each by itself.

    Raises:
        ArgumentError: Not a whole number; not a number; an operand is no tensor; a number is out of range; the targets
            are probabilities.
    """
    for x in (logits, target):
        require_tensor(x, "cross_entropy")
    smooth = real(label_smoothing, "cross_entropy, label_smoothing", least=0, most=1)
    logs = log_softmax(logits)
    if not target.dtype.is_integer:
        same_shape("cross_entropy", logits, target)
        if ignore_index is not None:
            raise ArgumentError("cross_entropy, ignore_index", "the targets are probabilities", expected="None",
                                got=ignore_index, remedy="Set their probabilities to 0")  # fmt: skip
        wanted = target * (1 - smooth) + smooth / logits.shape[-1] if smooth else target
        if weight is not None:
            require_tensor(weight, "cross_entropy, weight")
            wanted = wanted * cast(weight, wanted.dtype)
        return reduce_loss(-sum_of(logs * wanted, -1), reduction)
    if not smooth:
        return nll(logs, target, weight=weight, ignore_index=ignore_index, reduction=reduction)
    classes = logits.shape[-1]
    sharp = nll(logs, target, weight=weight, ignore_index=ignore_index, reduction="none")
    spread = -sum_of(logs if weight is None else logs * cast(weight, logs.dtype), -1) * (1 / classes)
    each = _nan_outside(sharp * (1 - smooth) + spread * smooth, target, classes)
    if ignore_index is not None:
        each = where(apply("eq", target, ignore_index), sharp * 0, each) if _fits(ignore_index, target) else each
    factors = None if weight is None else _class_weights(weight, classes, target, "cross_entropy", each.dtype)
    return _mean_by_weights(each, target, factors, ignore_index, reduction)


def _fits(number: Any, target: Tensor) -> bool:
    return target.dtype.minimum <= whole(number, "cross_entropy, ignore_index") <= target.dtype.maximum


def bce(probabilities: Tensor, target: Tensor, *, weight: Tensor | None = None, reduction: str = "mean") -> Tensor:
    """Return the cross-entropy of probabilities and ``target``, logarithms being -100 at least, as torch's.

    Args:
        probabilities: Tensor of numbers from 0 to 1.
        target: Tensor that is wanted, of the shape of the first.
        weight: Tensor of a factor for each class, or for each element; None: ones.
        reduction: "mean", "sum" or "none": of the losses of all elements, or each by itself.

    Raises:
        ArgumentError: An operand is no tensor; there is no such option.
        DTypeError: An operand is no number.
        ShapeError: The shapes do not broadcast.
    """
    same_shape("bce", probabilities, target)
    p = wide(probabilities, "bce")
    logs = [maximum(apply("log", maximum(q, 1e-45 if q.dtype.bits == 32 else 5e-324)), -100) for q in (p, 1 - p)]
    each = -(logs[0] * target + logs[1] * (1 - target))

    def vjp(node: Any, g: Any) -> list[Any]:
        p, wanted = node.inputs[:2]
        return [g * (p - wanted) / maximum(p * (1 - p), 1e-12), -(g * (logs[0] - logs[1]))]

    each = routed(each, [p, cast(target, p.dtype)], vjp)
    return reduce_loss(cast(each if weight is None else each * weight, probabilities.dtype), reduction)


def bce_with_logits(
    logits: Tensor, target: Tensor, *, weight: Tensor | None = None, pos_weight: Tensor | None = None,
    reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """Return the cross-entropy of sigmoid(logits) and ``target``; ``pos_weight``: factors of the positive part.

    Args:
        logits: Tensor of logits, floats of any shape.
        target: Tensor that is wanted, of the shape of the first.
        weight: Tensor of a factor for each class, or for each element; None: ones.
        pos_weight: Tensor of factors of the positive part; None: ones.
        reduction: "mean", "sum" or "none": of the losses of all elements, or each by itself.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: The elements are no numbers; an operand is no number.
        ShapeError: The shapes do not broadcast.
    """
    same_shape("bce_with_logits", logits, target)
    x = wide(logits, "bce_with_logits")
    positive = target if pos_weight is None else target * pos_weight
    each = -(logsigmoid(x) * positive + logsigmoid(-x) * (1 - target))
    return reduce_loss(cast(each if weight is None else each * weight, logits.dtype), reduction)


def smooth_l1(x: Tensor, target: Tensor, beta: float = 1.0, *, reduction: str = "mean") -> Tensor:
    """Return half the squared error over ``beta`` below it, else the absolute error less beta / 2.

    Args:
        x: Tensor of floats of any shape.
        target: Tensor that is wanted, of the shape of the first.
        beta: Width of the square part, above 0.
        reduction: "mean", "sum" or "none": of the losses of all elements, or each by itself.

    Raises:
        ArgumentError: Not a number; there is no such option.
    """
    same_shape("smooth_l1", x, target)
    width = real(beta, "smooth_l1, beta", least=0)
    away = abs(x - target)
    if not width:
        return reduce_loss(away, reduction)
    return reduce_loss(where(away < width, away * away * (0.5 / width), away - width * 0.5), reduction)


def kl_div(x: Tensor, target: Tensor, *, log_target: bool = False, reduction: str = "mean") -> Tensor:
    """Return target (log(target) - x), x being log probabilities; ``log_target``: the target's are logarithms as well.

    ``reduction`` may be "batchmean" too: the sum over the length of the first axis.

    Args:
        x: Tensor of log probabilities.
        target: Tensor that is wanted, of the shape of the first.
        log_target: Whether the target holds logarithms.
        reduction: "mean", "sum" or "none": of the losses of all elements, or each by itself.

    Raises:
        ArgumentError: An operand is no tensor.
    """
    same_shape("kl_div", x, target)
    if flag(log_target, "kl_div, log_target"):
        each = apply("exp", target) * (target - x)
    else:
        positive = target > 0
        each = where(positive, target * (apply("log", where(positive, target, 1)) - x), 0)
    if isinstance(reduction, str) and reduction == "batchmean":
        return sum_of(each) / max(1, x.shape[0] if x.ndim else 1)
    return reduce_loss(each, reduction)


def hinge(x: Tensor, target: Tensor, margin: float = 1.0, *, reduction: str = "mean") -> Tensor:
    """Return x where ``target`` is 1, else ``margin`` - x, 0 at least: torch's hinge_embedding_loss.

    Args:
        x: Tensor of floats of any shape.
        target: Tensor of 1 and -1.
        margin: Distance from which on nothing is lost.
        reduction: "mean", "sum" or "none": of the losses of all elements, or each by itself.

    Raises:
        ArgumentError: Not a number; an operand is no tensor.
    """
    same_shape("hinge", x, target)
    away = real(margin, "hinge, margin")
    return reduce_loss(where(apply("eq", target, 1), x, maximum(away - x, 0)), reduction)


def multi_margin(
    x: Tensor, target: Tensor, *, p: int = 1, margin: float = 1.0, weight: Tensor | None = None, reduction: str = "mean"
) -> Tensor:
    """Return the mean over other classes of max(0, margin - x[target] + x[class])^p, ``target`` being integers.

    Args:
        x: Tensor (.., classes).
        target: Tensor of classes (integers, without the last axis).
        p: Exponent, 1 or 2.
        margin: Distance from which on nothing is lost.
        weight: Tensor of a factor for each class, or for each element; None: ones.
        reduction: "mean", "sum" or "none": of the losses of all elements, or each by itself.

    Raises:
        ArgumentError: An operand is no tensor.
        ShapeError: Targets do not fit.
    """
    for t in (x, target):
        require_tensor(t, "multi_margin")
    if not x.ndim or target.shape != x.shape[:-1] or not target.dtype.is_integer:
        raise ShapeError("multi_margin", "targets do not fit", expected=f"integers of {x.shape[:-1]}",
                         got=f"{target.dtype} of {target.shape}", remedy="One class for each row")  # fmt: skip
    classes, away = x.shape[-1], real(margin, "multi_margin, margin")
    power = whole(p, "multi_margin, p", least=1, most=2)
    mine = is_class(target, classes)
    own = sum_of(where(mine, x, 0), -1, keepdims=True)
    terms = maximum(away - own + x, 0)
    each = sum_of(where(mine, 0, terms * terms if power == 2 else terms), -1) * (1 / classes)
    if weight is not None:
        each = each * _class_weights(weight, classes, target, "multi_margin", x.dtype)
    return reduce_loss(_nan_outside(each, target, classes), reduction)


def _length(x: Tensor, p: float, keepdims: bool = False) -> Tensor:
    """Return the p-norm along the last axis; its gradient at 0 is 0."""
    if p == math.inf:
        return max_of(abs(x), -1, keepdims=keepdims)
    if p == 1:
        return sum_of(abs(x), -1, keepdims=keepdims)
    total = sum_of(x * x if p == 2 else apply("pow", abs(x), p), -1, keepdims=keepdims)
    nothing = apply("eq", total, 0)
    safe = where(nothing, 1, total)
    return where(nothing, 0, safe.sqrt() if p == 2 else apply("pow", safe, 1 / p))


def pairwise_distance(x: Tensor, y: Tensor, p: float = 2.0, eps: float = 1e-6, *, keepdims: bool = False) -> Tensor:
    """Return the p-norm of x - y + ``eps`` along the last axis.

    Args:
        x: Tensor of floats of any shape.
        y: Tensor of the shape of ``x``.
        p: Exponent of the norm; infinity: the largest.
        eps: Number that keeps a divisor from 0.
        keepdims: Whether axes that are reduced stay, with length 1.

    Raises:
        ArgumentError: A number is not usable there; an operand is no tensor.
    """
    for t in (x, y):
        require_tensor(t, "pairwise_distance")
    power = p if isinstance(p, float) and p == math.inf else real(p, "pairwise_distance, p", least=1)
    return _length(x - y + real(eps, "pairwise_distance, eps"), power, flag(keepdims, "pairwise_distance, keepdims"))


def cdist(x: Tensor, y: Tensor, p: float = 2.0) -> Tensor:
    """Return the p-norm of every row of ``x`` (.., m, k) less every row of ``y`` (.., n, k): (.., m, n).

    By differences, which lose nothing where rows are near each other.

    Args:
        x: Tensor (.., m, k).
        y: Tensor (.., n, k).
        p: Exponent of the norm; infinity: the largest.

    Raises:
        ArgumentError: An operand is no tensor.
        ShapeError: The shapes do not fit.
    """
    for t in (x, y):
        require_tensor(t, "cdist")
    if x.ndim < 2 or y.ndim < 2 or x.shape[-1] != y.shape[-1]:
        raise ShapeError("cdist", "the shapes do not fit", expected="(.., m, k) and (.., n, k)",
                         got=f"{x.shape} and {y.shape}", remedy="Rows come last but one")  # fmt: skip
    power = real(p, "cdist, p", least=1) if p != math.inf else p
    return _length(expand_dims(x, -2) - expand_dims(y, -3), power)


def triplet_margin(
    anchor: Tensor, positive: Tensor, negative: Tensor, margin: float = 1.0, p: float = 2.0, eps: float = 1e-6, *,
    swap: bool = False, reduction: str = "mean",
) -> Tensor:  # fmt: skip
    """Return max(0, d(anchor, positive) - d(anchor, negative) + margin), d being ``pairwise_distance``.

    ``swap``: the negative's distance is the smaller of those from anchor and positive.

    Args:
        anchor: Tensor (.., n).
        positive: Tensor (.., n) to be near.
        negative: Tensor (.., n) to be far.
        margin: Distance from which on nothing is lost.
        p: Exponent of the norm; infinity: the largest.
        eps: Number that keeps a divisor from 0.
        swap: Whether the distance of the other two counts where it is less.
        reduction: "mean", "sum" or "none": of the losses of all elements, or each by itself.

    Raises:
        ArgumentError: Not a number; there is no such option; an operand is no tensor; a number is not usable there.
    """
    for t in (anchor, positive, negative):
        require_tensor(t, "triplet_margin")
    near = pairwise_distance(anchor, positive, p, eps)
    far = pairwise_distance(anchor, negative, p, eps)
    if flag(swap, "triplet_margin, swap"):
        far = apply("min", far, pairwise_distance(positive, negative, p, eps))
    return reduce_loss(maximum(near - far + real(margin, "triplet_margin, margin"), 0), reduction)


def cosine_similarity(x: Tensor, y: Tensor, axis: int = -1, eps: float = 1e-8) -> Tensor:
    """Return the sum of x y along an axis over the product of both lengths, each ``eps`` at least.

    Args:
        x: Tensor of floats of any shape.
        y: Tensor of the shape of ``x``.
        axis: Axis, negative ones counted from the end.
        eps: Number that keeps a divisor from 0.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: An axis is no integer.
        IndexOutside: There is no such axis.
    """
    for t in (x, y):
        require_tensor(t, "cosine_similarity")
    least = real(eps, "cosine_similarity, eps", least=0)
    lengths = [maximum(sum_of(t * t, axis), least * least).sqrt() for t in (x, y)]
    return sum_of(x * y, axis) / (lengths[0] * lengths[1])


def cosine_embedding(x: Tensor, y: Tensor, target: Tensor, margin: float = 0.0, *, reduction: str = "mean") -> Tensor:
    """Return 1 - cos(x, y) where ``target`` is 1, else max(0, cos(x, y) - margin), along the last axis.

    Args:
        x: Tensor of floats of any shape.
        y: Tensor of the shape of ``x``.
        target: Tensor of 1 and -1, without the last axis.
        margin: Distance from which on nothing is lost.
        reduction: "mean", "sum" or "none": of the losses of all elements, or each by itself.

    Raises:
        ArgumentError: An operand is no tensor.
        ShapeError: Targets do not fit.
    """
    require_tensor(target, "cosine_embedding, target")
    cosine = cosine_similarity(x, y, -1, 1e-6)
    if target.shape != cosine.shape:
        raise ShapeError("cosine_embedding, target", "targets do not fit", expected=cosine.shape, got=target.shape,
                         remedy="One for each row")  # fmt: skip
    far = maximum(cosine - real(margin, "cosine_embedding, margin"), 0)
    return reduce_loss(where(apply("eq", target, 1), 1 - cosine, far), reduction)


def poisson_nll(
    x: Tensor, target: Tensor, *, log_input: bool = True, full: bool = False, eps: float = 1e-8, reduction: str = "mean"
) -> Tensor:
    """Return e^x - target x (or x - target log(x + eps)); ``full`` adds Stirling's term for targets above 1.

    Args:
        x: Tensor of floats of any shape.
        target: Tensor that is wanted, of the shape of the first.
        log_input: Whether ``x`` is the logarithm of the expectation.
        full: Whether the constant terms are added.
        eps: Number that keeps a divisor from 0.
        reduction: "mean", "sum" or "none": of the losses of all elements, or each by itself.

    Raises:
        ArgumentError: An operand is no tensor; a number is not usable there.
    """
    same_shape("poisson_nll", x, target)
    small = real(eps, "poisson_nll, eps", least=0)
    is_log = flag(log_input, "poisson_nll, log_input")
    each = apply("exp", x) - target * x if is_log else x - target * apply("log", x + small)
    if flag(full, "poisson_nll, full"):
        safe = where(target > 1, target, 1)
        term = safe * apply("log", safe) - safe + apply("log", safe * (2 * math.pi)) * 0.5
        each = each + where(target > 1, term, 0)
    return reduce_loss(each, reduction)


def gaussian_nll(
    x: Tensor, target: Tensor, var: Tensor, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
) -> Tensor:
    """Return (log(var) + (x - target)^2 / var) / 2, ``var`` being ``eps`` at least; ``full`` adds log(2 pi) / 2.

    The gradient of ``var`` is that of the number used, as torch's.

    Args:
        x: Tensor of floats of any shape.
        target: Tensor that is wanted, of the shape of the first.
        var: Tensor of variances, ``eps`` at least.
        full: Whether the constant terms are added.
        eps: Number that keeps a divisor from 0.
        reduction: "mean", "sum" or "none": of the losses of all elements, or each by itself.

    Raises:
        ArgumentError: An operand is no tensor; a number is not usable there; not a number.
        ShapeError: Prediction and target differ in shape.
    """
    same_shape("gaussian_nll", x, target)
    require_tensor(var, "gaussian_nll, var")
    least = real(eps, "gaussian_nll, eps", least=0)

    def vjp(_node: Any, g: Any) -> list[Any]:
        return [g]

    used = routed(maximum(var, least), [var], vjp)
    away = x - target
    each = (apply("log", used) + away * away / used) * 0.5
    if flag(full, "gaussian_nll, full"):
        each = each + 0.5 * math.log(2 * math.pi)
    return reduce_loss(each, reduction)
