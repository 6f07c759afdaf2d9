"""Measures of classes: accuracy, confusion, precision, recall, F1 of each class and on average.

Layer: nn. Invariant: all of them follow from the confusion matrix, whose counts are exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Any

import numpy as np

from loom.core.arrays import Array, read_as
from loom.core.dtype import i64
from loom.core.errors import ArgumentError, ShapeError
from loom.core.late.dataclass import dataclass
from loom.nn.measure.labels import all_labels, names_of, number_labels, read_labels, require_as_many

__all__ = ["Averages", "ClassReport", "accuracy", "classification_report", "confusion_matrix", "report_of"]

_MOST_COUNTED = 1 << 53


def accuracy(expected: Any, predicted: Any) -> float:
    """Return the share of samples whose labels are equal.

    Args:
        expected: Labels (n): whole numbers, truths or texts.
        predicted: Labels said (n).

    Raises:
        DTypeError: Not labels.
        ShapeError: Not as many labels.
        EmptyError: No samples.

    >>> accuracy(["a", "b", "b"], ["a", "b", "a"]) == 2 / 3
    True
    """
    true, said = _pair(expected, predicted, "measure.accuracy")
    labels = all_labels(None, "measure.accuracy", true, said)
    return float((number_labels(true, labels) == number_labels(said, labels)).mean())


def confusion_matrix(expected: Any, predicted: Any, labels: Any = None) -> Array:
    """Return how often a label (row) was taken for another (column): int64 of (labels, labels).

    Args:
        expected: Labels (n): whole numbers, truths or texts.
        predicted: Labels said (n).
        labels: All labels there are, in their order; None: those met, sorted.

    Raises:
        ArgumentError: A label that is not among those listed.
        DTypeError: Not labels.
        ShapeError: Not as many labels.
        EmptyError: No samples.

    >>> confusion_matrix([0, 1, 1], [0, 1, 0]).tolist()
    [[1, 0], [1, 1]]
    """
    return _confusion(expected, predicted, labels, "measure.confusion_matrix")[0]


def _pair(expected: Any, predicted: Any, where: str) -> tuple[Array, Array]:
    true, said = read_labels(expected, f"{where}, expected"), read_labels(predicted, f"{where}, predicted")
    require_as_many(where, expected=true, predicted=said)
    return true, said


def _confusion(expected: Any, predicted: Any, labels: Any, where: str) -> tuple[Array, Array]:
    true, said = _pair(expected, predicted, where)
    known = all_labels(labels, where, true, said)
    rows, columns, count = number_labels(true, known), number_labels(said, known), len(known)
    return np.bincount(rows * count + columns, minlength=count * count).reshape(count, count), known


@dataclass(frozen=True, slots=True)
class Averages:
    """Precision, recall and F1 of several classes as one."""

    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True, eq=False)
class ClassReport:
    """Measures of each class, by the labels' order. ``print(report)`` prints a table.

    ``precision``: of those said to be of the class the share that is; ``recall``: of those that are the share said to
    be; ``f1``: their harmonic mean; each 0 where it is 0 / 0, which ``undefined`` lists. ``support``: samples of the
    class. ``micro``: of all samples together (the accuracy); ``macro``: the mean of the classes; ``weighted``: that by
    their support.
    """

    labels: tuple[Any, ...]
    names: tuple[str, ...]
    confusion: Array = field(repr=False)
    precision: Array
    recall: Array
    f1: Array
    support: Array
    accuracy: float
    micro: Averages
    macro: Averages
    weighted: Averages
    undefined: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        arrays = (self.precision, self.recall, self.f1, self.support)
        rows = zip(self.labels, self.names, *(a.tolist() for a in arrays), strict=True)
        keys = ("label", "name", "precision", "recall", "f1", "support")
        means = {n: getattr(self, n) for n in ("micro", "macro", "weighted")}
        return {
            "accuracy": self.accuracy, "classes": [dict(zip(keys, row, strict=True)) for row in rows],
            "averages": {n: {"precision": m.precision, "recall": m.recall, "f1": m.f1} for n, m in means.items()},
            "confusion": self.confusion.tolist(), "undefined": list(self.undefined),
        }  # fmt: skip

    def __str__(self) -> str:
        """Return a table."""
        total = str(int(self.support.sum()))
        arrays = (self.precision, self.recall, self.f1, self.support)
        rows = [[name, *(f"{v:.4f}" for v in row[:3]), str(row[3])]
                for name, *row in zip(self.names, *(a.tolist() for a in arrays), strict=True)]  # fmt: skip
        for name, mean in (("micro", self.micro), ("macro", self.macro), ("weighted", self.weighted)):
            rows.append([f"({name})", *(f"{v:.4f}" for v in (mean.precision, mean.recall, mean.f1)), total])
        table = [["class", "precision", "recall", "f1", "support"], *rows]
        widths = [max(len(row[i]) for row in table) for i in range(5)]
        lines = [[row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]
                 for row in table]  # fmt: skip
        return "\n".join(["  ".join(line) for line in lines] + [f"accuracy {self.accuracy:.6g}"])


def classification_report(
    expected: Any, predicted: Any, labels: Any = None, names: Sequence[str] | None = None
) -> ClassReport:
    """Return precision, recall, F1 and support of each class, and averages.

    Args:
        expected: Labels (n): whole numbers, truths or texts.
        predicted: Labels said (n).
        labels: All labels there are, in their order; None: those met, sorted.
        names: Names of the labels in the report; None: the labels.

    Raises:
        ArgumentError: A label that is not among those listed; not a name for each.
        DTypeError: Not labels.
        ShapeError: Not as many labels.
        EmptyError: No samples.

    >>> classification_report(["cat", "dog", "dog"], ["cat", "dog", "cat"]).recall.tolist()
    [1.0, 0.5]
    """
    where = "measure.classification_report"
    confusion, known = _confusion(expected, predicted, labels, where)
    return report_of(confusion, known.tolist(), names_of(known, names, where))


def report_of(confusion: Any, labels: Sequence[Any] = (), names: Sequence[str] = ()) -> ClassReport:
    """Return the report of a confusion matrix.

    Args:
        confusion: Counts (classes, classes), a row for each true class.
        labels: Labels of the classes; none: 0, 1, ...
        names: Names of the labels; none: the labels.

    Raises:
        ArgumentError: Not as many labels or names as classes; more samples than 2^53.
        DTypeError: Not whole numbers.
        ShapeError: Not a matrix of counts, as many rows as columns.

    Source: M. Sokolova and G. Lapalme, "A systematic analysis of performance measures" (2009), table 3.
    """
    where = "measure.report_of"
    counts = read_as(confusion, i64, where)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not counts.size or (counts < 0).any():
        raise ShapeError(where, "not a confusion matrix", expected="counts (classes, classes)",
                         got=counts.shape, remedy="Use confusion_matrix")  # fmt: skip
    if sum(map(sum, counts.tolist())) > _MOST_COUNTED:
        raise ArgumentError(where, "more samples than can be counted", expected="up to 2**53", got="more",
                            remedy="Divide the counts")  # fmt: skip
    for name, given in (("labels", labels), ("names", names)):
        if len(given) not in (0, len(counts)):
            raise ArgumentError(f"{where}, {name}", "not one for each class", expected=len(counts), got=len(given),
                                remedy="Pass as many as there are classes")  # fmt: skip
    right, said, true = np.diag(counts), counts.sum(0), counts.sum(1)
    precision, recall = _ratio(right, said), _ratio(right, true)
    f1 = _ratio(2 * right, said + true)
    total = int(true.sum())
    share = float(right.sum() / total) if total else 0.0
    known = tuple(labels) if len(labels) else tuple(range(len(counts)))
    called = tuple(names) if len(names) else tuple(map(str, known))
    weights = _ratio(true, np.full_like(true, total))
    rows = (precision, recall, f1)
    undefined = tuple(name for name, s, t in zip(called, said, true, strict=True) if not s or not t)
    return ClassReport(
        labels=known, names=called, confusion=counts, precision=precision, recall=recall, f1=f1, support=true,
        accuracy=share, micro=Averages(share, share, share), macro=Averages(*(float(v.mean()) for v in rows)),
        weighted=Averages(*(float((v * weights).sum()) for v in rows)), undefined=undefined,
    )  # fmt: skip


def _ratio(a: Array, b: Array) -> Array:
    """Return a / b, 0 where b is 0."""
    return np.divide(a, b, out=np.zeros(len(a)), where=b != 0)
