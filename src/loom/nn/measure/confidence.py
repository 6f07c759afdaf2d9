"""Calibration: whether what is said with a probability of 0.8 comes true 8 times of 10.

Layer: nn. Invariant: a bin takes probabilities above its lower edge and up to its upper one; 0 is in the first.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any, cast

import numpy as np

from loom.core.arrays import Array
from loom.core.errors import ArgumentError, ShapeError
from loom.core.late.dataclass import dataclass
from loom.core.numbers import whole
from loom.nn.measure.labels import read_labels, read_scores, require_as_many

__all__ = ["Calibration", "calibration"]


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Samples by how sure the answer was: ``confidence`` (mean probability of what was said) and ``accuracy`` (how
    often it was so) of each of the bins that have samples, and their ``counts``.

    ``expected_error``: their distance, weighted by counts (ECE); ``largest_error``; ``brier``: mean squared distance
    of all probabilities from the truth, summed over classes.
    """

    confidence: Array = field(repr=False)
    accuracy: Array = field(repr=False)
    counts: Array = field(repr=False)
    expected_error: float
    largest_error: float
    brier: float

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        arrays = {n: getattr(self, n).tolist() for n in ("confidence", "accuracy", "counts")}
        return arrays | {n: getattr(self, n) for n in ("expected_error", "largest_error", "brier")}


def calibration(expected: Any, probabilities: Any, bins: int = 10) -> Calibration:
    """Return the calibration of probabilities for classes.

    Args:
        expected: Classes (n), from 0.
        probabilities: Probabilities (n, classes), or (n) of class 1 of 0 and 1.
        bins: Number of bins, of equal width.

    Raises:
        ArgumentError: Not probabilities; a class that has none; not a whole number of bins, at least 1.
        DTypeError: Not labels; not numbers.
        ShapeError: Not as many rows as classes, or not rows.
        NotFinite: NaN or an infinity among the probabilities.

    >>> calibration([1, 1, 0, 1], [0.75, 0.75, 0.75, 0.75]).expected_error
    0.0

    Source: C. Guo and others, "On calibration of modern neural networks" (2017).
    """
    where = "measure.calibration"
    count = whole(bins, f"{where}, bins", least=1, most=1 << 20)
    true, chances = read_labels(expected, f"{where}, expected"), read_scores(probabilities, f"{where}, probabilities")
    require_as_many(where, expected=true, probabilities=chances)
    chances = chances.reshape(len(chances), -1) if chances.ndim < 3 else chances
    if chances.ndim != 2 or not chances.size:
        raise ShapeError(where, "not rows of probabilities", expected="(n, classes)", got=chances.shape,
                         remedy="Measure one output at a time")  # fmt: skip
    if (chances < 0).any() or (chances > 1).any():
        raise ArgumentError(f"{where}, probabilities", "not probabilities", expected="0 to 1",
                            got=f"{chances.min():g} to {chances.max():g}",
                            remedy="Take the softmax of logits")  # fmt: skip
    if chances.shape[1] == 1:
        chances = np.concatenate([1 - chances, chances], 1)
    if true.dtype.kind == "U" or (true.astype(np.int64) < 0).any() or (true.astype(np.int64) >= chances.shape[1]).any():
        raise ArgumentError(f"{where}, expected", "a class that has no probability",
                            expected=f"0 to {chances.shape[1] - 1}", got=str(np.unique(true).tolist())[:80],
                            remedy="Number classes from 0")  # fmt: skip
    true = true.astype(np.int64)
    return _of(true, chances, count)


def _of(true: Array, chances: Array, bins: int) -> Calibration:
    said: Any = chances.argmax(1)
    sure: Any = chances.max(1)
    edges: Array = np.arange(1, bins) / bins
    places = cast("Any", np.searchsorted(edges, sure, side="left"))
    counts = np.bincount(places, minlength=bins)
    met = counts > 0
    held = counts[met]
    confidence = np.bincount(places, sure, minlength=bins)[met] / held
    right = np.bincount(places, said == true, minlength=bins)[met] / held
    gaps = np.abs(confidence - right)
    truths = cast("Any", true[:, None] == np.arange(chances.shape[1]))
    away = chances - truths
    return Calibration(
        confidence=confidence, accuracy=right, counts=held, largest_error=float(gaps.max()),
        expected_error=float((gaps * held).sum() / len(true)), brier=float((away * away).sum(1).mean()),
    )  # fmt: skip
