"""Measures of scores: the ROC curve and the area under it, precision against recall and its average.

Layer: nn. Invariant: areas are quotients of whole numbers where they are counts of pairs; equal scores are one
threshold.
"""

from __future__ import annotations

from dataclasses import field
from typing import Any, cast

import numpy as np

from loom.core.arrays import Array
from loom.core.errors import ArgumentError, ShapeError
from loom.core.given import one_of
from loom.core.late.dataclass import dataclass
from loom.nn.measure.labels import (
    all_labels,
    as_list,
    number_labels,
    read_labels,
    read_scores,
    read_truths,
    require_as_many,
)

__all__ = [
    "PrecisionRecall", "RocCurve", "average_precision", "precision_recall_curve", "roc_auc", "roc_curve", "roc_curves",
]  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class RocCurve:
    """The share of negatives (``false_positive_rate``) and of positives (``true_positive_rate``) that score at least
    ``thresholds``, from none (an infinite one) to all; ``auc``: the area below."""

    false_positive_rate: Array = field(repr=False)
    true_positive_rate: Array = field(repr=False)
    thresholds: Array = field(repr=False)
    auc: float

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON takes it; the infinite threshold is None."""
        return {
            "auc": self.auc, "false_positive_rate": self.false_positive_rate.tolist(),
            "true_positive_rate": self.true_positive_rate.tolist(), "thresholds": [None, *self.thresholds[1:].tolist()],
        }  # fmt: skip

    def best(self) -> float:
        """Return the threshold at which the rates are farthest apart (W. Youden, 1950), the highest of several."""
        return float(self.thresholds[int(np.argmax(self.true_positive_rate - self.false_positive_rate))])


@dataclass(frozen=True, slots=True, eq=False)
class PrecisionRecall:
    """Precision and recall of those that score at least ``thresholds``, from the highest; ``average_precision``: the
    mean of the precisions, each weighted by what it adds to the recall."""

    precision: Array = field(repr=False)
    recall: Array = field(repr=False)
    thresholds: Array = field(repr=False)
    average_precision: float


def _counts(truths: Array, scores: Array) -> tuple[Array, Array, Array]:
    """Return thresholds from the highest, and the positives and negatives that score at least as much."""
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], truths[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))  # of equal scores
    return ranked[last], np.cumsum(hits)[last], np.cumsum(~hits)[last]


def _binary(expected: Any, scores: Any, positive: Any, where: str) -> tuple[Array, Array]:
    truths = read_truths(expected, f"{where}, expected", positive)
    found = read_scores(scores, f"{where}, scores")
    if found.ndim == 2 and found.shape[1] == 1:
        found = found[:, 0]
    if found.ndim != 1:
        raise ShapeError(f"{where}, scores", "not one score for each sample", expected=truths.shape, got=found.shape,
                         remedy="Pass scores of the positive class, scores[:, 1], or use roc_auc")  # fmt: skip
    require_as_many(where, expected=truths, scores=found)
    return truths, found


def roc_curve(expected: Any, scores: Any, *, positive: Any = None) -> RocCurve:
    """Return the ROC curve of scores.

    Args:
        expected: Truths (n), 0 and 1, or labels of which ``positive`` is one.
        scores: Scores (n), the larger the likelier positive.
        positive: Label that scores are of; None: of truths, or 0 and 1.

    Raises:
        ArgumentError: All samples are of one kind; ``positive`` is missing, or has no effect.
        DTypeError: Not labels, or ``positive`` is none; not numbers.
        ShapeError: Not as many scores as labels.
        NotFinite: NaN or an infinity among the scores.

    >>> roc_curve([False, False, True, True], [0.1, 0.4, 0.35, 0.8]).auc
    0.75

    Source: T. Fawcett, "An introduction to ROC analysis" (2006).
    """
    return _curve(*_binary(expected, scores, positive, "measure.roc_curve"))


def _curve(truths: Array, scores: Array) -> RocCurve:
    thresholds, hits, misses = _counts(truths, scores)
    hits, misses = np.append(0, hits), np.append(0, misses)
    twice = int(((misses[1:] - misses[:-1]) * (hits[1:] + hits[:-1])).sum())  # pairs in order, ties a half, twice
    positives, negatives = int(hits[-1]), int(misses[-1])
    return RocCurve(misses / negatives, hits / positives, np.append(np.inf, thresholds),
                    twice / (2 * positives * negatives))  # fmt: skip


def precision_recall_curve(expected: Any, scores: Any, *, positive: Any = None) -> PrecisionRecall:
    """Return precision against recall of scores.

    Args:
        expected: Truths (n), 0 and 1, or labels of which ``positive`` is one.
        scores: Scores (n), the larger the likelier positive.
        positive: Label that scores are of; None: of truths, or 0 and 1.

    Raises:
        ArgumentError: All samples are of one kind; ``positive`` is missing, or has no effect.
        DTypeError: Not labels, or ``positive`` is none; not numbers.
        ShapeError: Not as many scores as labels.
        NotFinite: NaN or an infinity among the scores.
    """
    thresholds, hits, misses = _counts(*_binary(expected, scores, positive, "measure.precision_recall_curve"))
    precision, recall = hits / (hits + misses), hits / hits[-1]
    gains = np.diff(np.append(0.0, recall))
    return PrecisionRecall(precision, recall, thresholds, float((gains * precision).sum()))


def average_precision(expected: Any, scores: Any, *, positive: Any = None) -> float:
    """Return the average precision of scores.

    Args:
        expected: Truths (n), 0 and 1, or labels of which ``positive`` is one.
        scores: Scores (n), the larger the likelier positive.
        positive: Label that scores are of; None: of truths, or 0 and 1.

    Raises:
        ArgumentError: All samples are of one kind; ``positive`` is missing, or has no effect.
        DTypeError: Not labels, or ``positive`` is none; not numbers.
        ShapeError: Not as many scores as labels.
        NotFinite: NaN or an infinity among the scores.
    """
    return precision_recall_curve(expected, scores, positive=positive).average_precision


def roc_curves(expected: Any, scores: Any, *, labels: Any = None) -> dict[Any, RocCurve]:
    """Return the curve of each class against all others, by its label.

    A class that no sample, or every sample, is of has no curve and is left out.

    Args:
        expected: Labels (n): whole numbers, truths or texts.
        scores: Scores (n, classes).
        labels: Labels of the scores' columns; None: 0, 1, .. for whole numbers, the sorted ones met for texts.

    Raises:
        ArgumentError: No class has a curve.
        DTypeError: Not labels; not numbers.
        ShapeError: Not one score for each class, or not as many as labels.
        NotFinite: NaN or an infinity among the scores.
    """
    where = "measure.roc_curves"
    true, found = read_labels(expected, f"{where}, expected"), read_scores(scores, f"{where}, scores")
    if found.ndim != 2:
        raise ShapeError(f"{where}, scores", "not one score for each class", expected="(n, classes)", got=found.shape,
                         remedy="Use roc_curve for scores of one class")  # fmt: skip
    require_as_many(where, expected=true, scores=found)
    if labels is None and true.dtype.kind != "U":
        labels = range(found.shape[1])
    known = all_labels(None if labels is None else as_list(labels, f"{where}, labels"), where, true)
    if len(known) != found.shape[1]:
        raise ShapeError(f"{where}, labels", "not one label for each column of the scores", expected=found.shape[1],
                         got=len(known), remedy="Pass labels=..., in the columns' order")  # fmt: skip
    places = number_labels(true, known)
    masks = {label: places == k for k, label in enumerate(known.tolist())}
    made = {label: _curve(mask, found[:, k]) for k, (label, mask) in enumerate(masks.items())
            if mask.any() and not mask.all()}  # fmt: skip
    if not made:
        raise ArgumentError(where, "all samples are of one class", expected="samples of several",
                            got=str(np.unique(true).tolist()), remedy="Measure with others")  # fmt: skip
    return made


def roc_auc(
    expected: Any, scores: Any, *, average: str | None = "macro", labels: Any = None, positive: Any = None
) -> Any:
    """Return the area under the ROC curve, of several classes each against the others.

    A class without a curve (``roc_curves``) does not count.

    Args:
        expected: Labels (n): whole numbers, truths or texts.
        scores: Scores (n), the larger the likelier positive, or (n, classes).
        average: Average of the classes: "macro" (their mean), "weighted" (by their samples), "micro" (all scores as one
            list), or None: label -> area.
        labels: Labels of the scores' columns; None: 0, 1, .. for whole numbers, the sorted ones met for texts.
        positive: Label that scores are of; None: of truths, or 0 and 1.

    Raises:
        ArgumentError: All samples are of one kind; there is no such average; ``positive`` or ``labels`` has no effect.
        DTypeError: Not labels, or ``positive`` is none; not numbers.
        ShapeError: Not as many scores as labels.
        NotFinite: NaN or an infinity among the scores.

    >>> roc_auc([0, 1, 2], [[0.8, 0.1, 0.1], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7]])
    1.0
    """
    where = "measure.roc_auc"
    labels = None if labels is None else as_list(labels, f"{where}, labels")
    found = read_scores(scores, f"{where}, scores")
    if average is not None:
        one_of(average, f"{where}, average", ("macro", "weighted", "micro"))
    if found.ndim < 2 or found.shape[1] == 1:
        if labels is not None:
            raise ArgumentError(f"{where}, labels", "have no effect on scores of one class",
                                expected="scores (n, classes)", got=found.shape,
                                remedy="Pass positive=..., the label that scores are of")  # fmt: skip
        return _curve(*_binary(expected, found, positive, where)).auc
    if positive is not None:
        raise ArgumentError(f"{where}, positive", "has no effect on scores of several classes",
                            expected="scores of one class", got=found.shape,
                            remedy="Pass the column of that class, or leave it out")  # fmt: skip
    curves = roc_curves(expected, found, labels=labels)
    if average is None:
        return {label: curve.auc for label, curve in curves.items()}
    true = read_labels(expected, where)
    if average == "micro":
        columns = list(range(found.shape[1])) if labels is None and true.dtype.kind != "U" else labels
        places = number_labels(true, all_labels(columns, where, true))
        masks = cast("Any", places[:, None] == np.arange(found.shape[1]))
        return _curve(masks.reshape(-1), found.reshape(-1)).auc
    areas = np.array([curve.auc for curve in curves.values()])
    if average == "macro":
        return float(areas.mean())
    sizes = np.array([(true == label).sum() for label in curves])
    return float((areas * sizes).sum() / sizes.sum())
