"""``ctc_loss``: the loss of sequences whose labels are not aligned.

Layer: tensor. Chances are logarithms; what cannot be is a number far below all others, so that no infinity takes part.
Invariant: one step of the record for each step of time, whatever the lengths.

Source: A. Graves, S. Fernandez, F. Gomez and J. Schmidhuber, "Connectionist temporal classification" (2006).
"""

from __future__ import annotations

import math
from typing import Any

from loom.core.dtype import i64
from loom.core.errors import ArgumentError, DTypeError, ShapeError
from loom.core.given import flag
from loom.core.numbers import whole
from loom.tensor.arrays.functions import reduce_loss
from loom.tensor.arrays.tensor import Tensor, array
from loom.tensor.neural.activations import wide
from loom.tensor.ops.elementwise import apply, cast, coordinate, where
from loom.tensor.ops.joining import concat, stack
from loom.tensor.ops.reductions import max_of, sum_of
from loom.tensor.ops.views import broadcast_to, detach, expand_dims, reshape
from loom.tensor.record.graph import Node, require_tensor
from loom.tensor.selecting.taking import take_along_axis

__all__ = ["ctc_loss"]

_NEVER, _BOUND = -1e30, 1e29


def ctc_loss(
    log_probs: Tensor, targets: Any, input_lengths: Any, target_lengths: Any, *, blank: int = 0,
    reduction: str = "mean", zero_infinity: bool = False,
) -> Tensor:  # fmt: skip
    """Return minus the logarithm of the chance of ``targets``, summed over their alignments, as torch's.

    ``log_probs`` (time, batch, classes): logarithms of chances (``log_softmax``). ``targets`` (batch, length): classes
    other than ``blank``; of row n the first ``target_lengths[n]`` count, and the first ``input_lengths[n]`` steps of
    time; as tensors they are not looked at, but longer ones end where the time does. A mean is over the batch of losses
    by their target's length, at least 1. A target that no alignment gives has the loss inf, or 0 with
    ``zero_infinity``, and no gradient.

    Args:
        log_probs: Tensor (tokens, batch, classes).
        targets: Tensor of classes.
        input_lengths: Lengths of the inputs.
        target_lengths: Lengths of the targets.
        blank: Class of nothing.
        reduction: "mean", "sum" or "none": of the losses of all elements, or each by itself.
        zero_infinity: Whether infinite losses count as 0.

    Raises:
        ArgumentError: There is no such option; not a whole number; an operand is no tensor; a number is out of range.
        DTypeError: Not whole numbers; the elements are no numbers; the array has a mask.
        ShapeError: Not a row for each sequence; no sequences.
    """
    name = "ctc_loss"
    require_tensor(log_probs, name)
    if log_probs.ndim != 3 or not log_probs.shape[0]:
        raise ShapeError(name, "no sequences", expected="(time, batch, classes)", got=log_probs.shape,
                         remedy="Put time first")  # fmt: skip
    steps, batch, classes = log_probs.shape
    labels = _whole_numbers(targets, f"{name}, targets", log_probs, classes - 1)
    if labels.ndim != 2 or labels.shape[0] != batch:
        raise ShapeError(f"{name}, targets", "not a row for each sequence", expected=f"({batch}, length)",
                         got=labels.shape, remedy="Fill rows up to one length")  # fmt: skip
    nothing = whole(blank, f"{name}, blank", least=0, most=classes - 1)
    inputs = _lengths(input_lengths, f"{name}, input_lengths", batch, log_probs, steps)
    lengths = _lengths(target_lengths, f"{name}, target_lengths", batch, log_probs, labels.shape[1])
    logs = wide(log_probs, name)
    each: Any = _losses(logs, labels, nothing, inputs, lengths, steps)
    infinite = each > _BOUND
    each = where(infinite, 0 if flag(zero_infinity, f"{name}, zero_infinity") else math.inf, each)
    if reduction == "mean":
        each = each / apply("max", cast(lengths, each.dtype), 1)
    return cast(reduce_loss(each, reduction), log_probs.dtype)


def _whole_numbers(given: Any, where_: str, like: Tensor, most: int) -> Any:
    """Return integers as a tensor; those of the host must be from 0 to ``most``."""
    found: Any = given if isinstance(given, Node) else array(given, on=like.device)
    if not found.dtype.is_integer:
        raise DTypeError(where_, "not whole numbers", expected="integers", got=found.dtype, remedy="Convert them")
    if found is not given and found.size:
        elements: Any = found.numpy()
        least, largest = elements.min(), elements.max()
        if least < 0 or largest > most:
            raise ArgumentError(where_, "out of range", expected=f"0 to {most}", got=f"{least} to {largest}",
                                remedy="Check classes and lengths")  # fmt: skip
    return cast(found, i64)


def _lengths(given: Any, where_: str, batch: int, like: Tensor, most: int) -> Any:
    found = _whole_numbers(given, where_, like, most)
    if found.shape != (batch,):
        raise ShapeError(where_, "not one for each sequence", expected=(batch,), got=found.shape, remedy="Pass a list")
    return found


def _losses(logs: Any, labels: Any, blank: int, inputs: Any, targets: Any, steps: int) -> Any:
    batch, length = labels.shape
    states = 2 * length + 1
    blanks = labels[:, :1] * 0 + blank if length else array([[blank]] * batch, i64, on=logs.device)
    pairs = stack([broadcast_to(blanks, labels.shape), labels], -1)
    path = concat([reshape(pairs, (batch, 2 * length)), blanks], 1) if length else blanks
    seen = take_along_axis(logs, broadcast_to(expand_dims(path, 0), (steps, batch, states)), axis=2)
    place = coordinate((batch, states), 1, i64, logs)
    before = _later(path, 2, blank)
    may_skip = apply("ne", path, blank) & apply("ne", path, before) & (place > 1)
    alpha = where(place < 2, seen[0], _NEVER)
    for t in range(1, steps):
        skipped = where(may_skip, _later(alpha, 2, _NEVER), _NEVER)
        new = _join([alpha, _later(alpha, 1, _NEVER), skipped]) + seen[t]
        alpha = where(expand_dims(inputs > t, -1), apply("max", new, _NEVER), alpha)
    last = expand_dims(targets * 2, -1)
    ends = where(apply("eq", place, last) | apply("eq", place, last - 1), alpha, _NEVER)
    top = detach(max_of(ends, 1, keepdims=True))
    total = sum_of(apply("exp", ends - top), 1).log() + reshape(top, (batch,))
    return -total


def _later(x: Any, by: int, fill: Any) -> Any:
    """Return rows moved to the right, a number coming in."""
    n = x.shape[-1]
    room = broadcast_to(x[:, :1] * 0 + fill, (x.shape[0], min(by, n)))
    return concat([room, x[:, : n - min(by, n)]], 1) if n > by else room


def _join(parts: list[Any]) -> Any:
    """Return the logarithm of the sum of e to the parts."""
    top = detach(apply("max", apply("max", parts[0], parts[1]), parts[2]))
    total = sum((apply("exp", part - top) for part in parts[1:]), apply("exp", parts[0] - top))
    return apply("log", total) + top
