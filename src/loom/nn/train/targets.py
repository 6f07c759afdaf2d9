"""The loss and the targets that fit what a network's output means.

Layer: nn. Invariant: a loss is taken of the output as what it is: logits, probabilities that exclude one another,
independent ones, or numbers; where it would mean nothing, it is refused before anything runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from loom.core.arrays import Array, read_array
from loom.core.conversions import widen
from loom.core.errors import ArgumentError, ShapeError, near_matches
from loom.core.late.dataclass import dataclass
from loom.nn.spec import Meaning, NetworkSpec, NumberKind
from loom.nn.train.losses import CHANCE_LOSSES, NEXT_TOKEN, PADDING, Loss, loss_of
from loom.nn.train.samples import WHOLE, by_name, for_each

__all__ = ["Losses", "Output", "fit_all_targets", "fit_targets", "interpret_loss", "outputs_of"]

Losses = str | Loss | Mapping[str, str | Loss] | None


@dataclass(frozen=True, slots=True)
class Output:
    """An output of a network: the shape of one sample's, and what its numbers mean."""

    shape: tuple[int, ...]
    meaning: Meaning

    @property
    def gives_probabilities(self) -> bool:
        """Tell whether it gives probabilities, not logits or other numbers."""
        return self.meaning.kind in (NumberKind.PROBABILITIES, NumberKind.INDEPENDENT)


def outputs_of(network: NetworkSpec) -> dict[str, Output]:
    """Return a network's outputs by name."""
    shapes, meanings = network.shapes(), network.meanings()
    return {name: Output(shapes[name], meanings[name]) for name in network.outputs}


def fit_targets(output: Output, y: Any, loss: str | Loss | None, where: str = "train, y") -> tuple[str | Loss, Array]:
    """Return the loss, chosen if it is None, and the targets as it takes them: classes as integers, or numbers.

    Cross-entropy of independent probabilities is the binary one; one-hot rows of whole numbers are the classes they
    tell. ArgumentError and ShapeError for targets that do not fit, and for a loss that such an output has no meaning
    for.
    """
    found = widen(*read_array(y, where))
    name = _choose(output, found) if loss is None else loss
    if not isinstance(name, str):
        return name, found
    loss_of(name)
    name = interpret_loss(name, output, where)
    if name == NEXT_TOKEN:
        return name, _require_tokens(output, found, where)
    if name == "binary_cross_entropy" and output.shape[-1:] == (1,):
        _require_shape(output, found, where)
    if name not in CHANCE_LOSSES or found.dtype.kind not in WHOLE:
        _require_shape(output, found, where)
        if name in CHANCE_LOSSES:
            _require_range(found, 1, "a target out of range", "Scale them", where)
        return name, found
    if found.shape[1:] == output.shape and name == "binary_cross_entropy":
        _require_range(found, 1, "a target out of range", "Pass 0 or 1 for each output, or classes", where)
        return name, found.astype(np.float32)
    if found.shape[1:] == output.shape and output.shape:
        return name, _classes_of_rows(found, where)
    return name, _require_classes(output, found, where)


def fit_all_targets(
    outputs: Mapping[str, Output], y: Any, loss: Losses, where: str = "train, y"
) -> tuple[str | Loss | dict[str, str | Loss], Any]:
    """Return losses and targets as ``fit_targets``; of several outputs by their names.

    ``y`` then has targets for each (see ``by_name``); ``loss`` is one for all, or some by name, others being chosen.
    """
    names, place = tuple(outputs), where.removesuffix(", y")
    losses = for_each(loss, names)
    for name in losses:
        if name not in outputs:
            raise ArgumentError(f"{place}, loss", f"the network has no output {name!r}",
                                expected=", ".join(names), remedy=near_matches(str(name), names))  # fmt: skip
    given = by_name(y, names, where, "y")
    if len(names) == 1:
        return fit_targets(outputs[names[0]], given[names[0]], losses.get(names[0]), where)
    made = {n: fit_targets(o, given[n], losses.get(n), f"{where} {n!r}") for n, o in outputs.items()}
    return {n: name for n, (name, _) in made.items()}, {n: found for n, (_, found) in made.items()}


def _choose(output: Output, y: Array) -> str:
    """Return the loss for targets: of classes and one-hot rows cross-entropy, of numbers the mean squared error."""
    if y.dtype.kind not in WHOLE:
        return "mse"
    if y.shape[1:] == output.shape:
        is_chance = output.meaning.kind is NumberKind.INDEPENDENT and _are_truths(y)
        return "binary_cross_entropy" if is_chance else "cross_entropy" if _is_one_hot(y) else "mse"
    return "mse" if output.shape[-1:] in ((1,), ()) else "cross_entropy"


def _are_truths(y: Array) -> bool:
    return bool(((y == 0) | (y == 1)).all())


def _is_one_hot(y: Array) -> bool:
    return y.ndim > 1 and y.shape[-1] > 1 and _are_truths(y) and bool((y.sum(-1) == 1).all())


def interpret_loss(name: str, output: Output, where: str) -> str:
    """Return the loss that is meant by a name of such an output; ArgumentError if there is none."""
    meaning = output.meaning
    if name == "nll":
        raise _meaningless(where, name, output, "logarithms of probabilities", "Use loss='cross_entropy', which takes "
                           "logits or probabilities")  # fmt: skip
    if name not in CHANCE_LOSSES:
        return name
    if meaning.kind is NumberKind.NEITHER:
        raise _meaningless(where, name, output, "logits or probabilities", "Let the last layer be dense, softmax or "
                           "sigmoid (of branches that are probabilities take the mean, combine_mode 'avg'), or use "
                           "loss='mse' with targets of the output's shape")  # fmt: skip
    if name == NEXT_TOKEN and (meaning.kind is NumberKind.INDEPENDENT or output.shape[-1:] in ((1,), ())):
        raise _meaningless(where, name, output, "a logit or probability for each token", "Let the last layer be dense, "
                           "with an output for each token")  # fmt: skip
    if name == "cross_entropy" and output.shape[-1:] in ((1,), ()) and meaning.kind is not NumberKind.INDEPENDENT:
        raise ArgumentError(where.replace(", y", ", loss"), "cross_entropy means nothing for a single output",
                            expected="an output for each class", got="1",
                            remedy="Use loss='binary_cross_entropy' with targets of 0 and 1")  # fmt: skip
    is_exclusive = name in ("cross_entropy", NEXT_TOKEN) and meaning.kind is NumberKind.PROBABILITIES
    if is_exclusive and meaning.width != output.shape[-1]:
        raise _meaningless(where, name, output, f"probabilities of sum 1 along the last axis, of {output.shape[-1]}",
                           f"Add a reshape layer whose last size is {meaning.width}, or use "
                           "loss='binary_cross_entropy'")  # fmt: skip
    return "binary_cross_entropy" if name == "cross_entropy" and meaning.kind is NumberKind.INDEPENDENT else name


def _meaningless(where: str, name: str, output: Output, expected: str, remedy: str) -> ArgumentError:
    return ArgumentError(where.replace(", y", ", loss"), f"{name} means nothing for this output", expected=expected,
                         got=str(output.meaning), remedy=remedy)  # fmt: skip


def _require_shape(output: Output, y: Array, where: str) -> None:
    if y.shape[1:] == output.shape and y.ndim:
        return
    are_whole = y.dtype.kind == "f" and y.shape[1:] == output.shape[:-1] and bool((y == np.floor(y)).all())
    remedy = "Reshape them"
    if output.shape[-1:] == (1,) and y.ndim and y.shape[1:] == output.shape[:-1]:
        remedy = "Give them the output's axis: numpy.expand_dims(y, -1)"
    elif are_whole and output.shape:
        remedy = "Pass classes as integers, y.astype(int)"
    elif y.dtype.kind in WHOLE:
        remedy += ", or pass classes with loss='cross_entropy'"
    raise ShapeError(where, "targets do not fit the output", expected=_sizes(output.shape), got=y.shape, remedy=remedy)


def _require_range(y: Array, most: int, what: str, remedy: str, where: str) -> None:
    if ((y < 0) | (y > most)).any():
        raise ArgumentError(where, what, expected=f"0 to {most}", got=f"{y.min():g} to {y.max():g}", remedy=remedy)


def _classes_of_rows(y: Array, where: str) -> Array:
    """Return the classes that one-hot rows tell."""
    if not _is_one_hot(y):
        raise ArgumentError(where, "the rows are not one-hot", expected="one 1 in each row, else 0",
                            got="other whole numbers",
                            remedy="Pass classes, or probabilities as floats")  # fmt: skip
    return y.argmax(-1).astype(np.int32)


def _require_classes(output: Output, y: Array, where: str) -> Array:
    if y.shape[1:] != output.shape[:-1] or not y.ndim or not output.shape:
        flatten = "Put a flatten layer before the last dense layer, so that there is one row for each sample"
        remedy = flatten if y.ndim == 1 and len(output.shape) > 1 else "One class for each row of the output"
        raise ShapeError(where, f"the classes do not fit the output {_sizes(output.shape)}",
                         expected=_sizes(output.shape[:-1]), got=y.shape, remedy=remedy)  # fmt: skip
    _require_range(y, output.shape[-1] - 1, "a class out of range", "Number classes from 0", where)
    return y.astype(np.int32)


def _require_tokens(output: Output, y: Array, where: str) -> Array:
    """Return classes of which some are padding; ArgumentError if none else is there."""
    if y.dtype.kind not in WHOLE:
        raise ArgumentError(where, "the targets of next_token are classes", expected="whole numbers", got=y.dtype,
                            remedy="Pass the next token of each, -100 where none counts")  # fmt: skip
    counts = y != PADDING
    if y.size and not counts.any():
        raise ArgumentError(where, "no token counts", expected=f"a class that is not {PADDING}", got="padding alone",
                            remedy="Give targets that are not padding")  # fmt: skip
    return np.where(counts, _require_classes(output, np.where(counts, y, 0), where), PADDING).astype(np.int32)


def _sizes(shape: tuple[int, ...]) -> str:
    """Return the shape of n such arrays as a text."""
    return f"({', '.join(['n', *map(str, shape)])})" if shape else "(n,)"
