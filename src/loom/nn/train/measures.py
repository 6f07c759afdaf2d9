"""How good predictions are: accuracy, confusion, and the older generations' deviation metrics.

Layer: nn. Invariant: everything is computed in doubles on the host from the outputs' bits, the same everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from loom.core.arrays import Array, read_as
from loom.core.dtype import f64
from loom.core.errors import ShapeError
from loom.nn.train.losses import Loss
from loom.nn.train.samples import WHOLE

__all__ = [
    "BUCKETS",
    "DeviationMetrics",
    "Evaluation",
    "Prediction",
    "classes_said",
    "confusion_of",
    "deviation_metrics",
    "evaluation_of",
]


BUCKETS = {
    "0-10%": (0.0, 10.0), "10-20%": (10.0, 20.0), "20-30%": (20.0, 30.0), "30-40%": (30.0, 40.0),
    "40-50%": (40.0, 50.0), "50-100%": (50.0, 100.0), "100%+": (100.0, float("inf")),
}  # fmt: skip
"""Name -> deviation in percent, above the first number and up to the second."""

_NEARLY_ZERO = 1e-10
_INFINITE = 1e9
"""What JSON has in place of infinity."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """One sample's: ``deviation`` in percent."""

    sample_index: int
    expected: float
    actual: float
    deviation: float
    bucket: str


@dataclass(frozen=True, slots=True)
class DeviationMetrics:
    """How far predictions are from what was expected, in percent of it.

    ``score``: 100 minus the deviations, those above 100 counting as 100, on average; ``accuracy``: the share that is
    exactly right; ``failures``: predictions off by more than 100 %.
    """

    score: float
    total_samples: int
    failures: int
    avg_deviation: float
    correct_count: int
    accuracy: float
    results: tuple[Prediction, ...] = field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return it with its buckets, as the older generations' JSON has it."""
        found: dict[str, Any] = {"buckets": {}}
        for name, (low, high) in BUCKETS.items():
            samples = [r.sample_index for r in self.results if r.bucket == name]
            found["buckets"][name] = {
                "range_min": low, "range_max": min(high, _INFINITE), "count": len(samples), "samples": samples,
            }  # fmt: skip
        rest = asdict(self)
        return found | rest | {"results": list(rest["results"])}


def deviation_metrics(outputs: Any, expected: Any) -> DeviationMetrics:
    """Return the metrics of outputs (n, ...) for ``expected`` (n): numbers, or classes.

    A prediction is the output itself if it is one number, else the index of its largest element, the first of several.
    Deviation: |a - e| / |e| in percent, |a - e| where |e| < 1e-10; 100 if that is no finite number. ShapeError if there
    is not one number for each sample.

    >>> deviation_metrics([[0.1, 0.9], [0.8, 0.2]], [1, 1]).score
    50.0
    """
    found = read_as(outputs, f64, "evaluate, outputs")
    wanted = read_as(expected, f64, "evaluate, expected").reshape(-1)
    if found.ndim == 0 or len(found) != len(wanted) or not len(wanted):
        raise ShapeError("evaluate", "not one expected number for each sample", expected=found.shape[:1],
                         got=wanted.shape, remedy="Pass one number for each output")  # fmt: skip
    rows = found.reshape(len(found), -1)
    actual = rows[:, 0] if rows.shape[1] == 1 else rows.argmax(1).astype(np.float64)
    with np.errstate(all="ignore"):
        away = np.abs(actual - wanted)
        far = np.where(np.abs(wanted) < _NEARLY_ZERO, away, np.abs(away / wanted)) * 100.0
    far = np.where(np.isfinite(far), far, 100.0).tolist()
    results = tuple(
        Prediction(i, float(e), float(a), d, _bucket(d))
        for i, (e, a, d) in enumerate(zip(wanted, actual, far, strict=True))
    )
    correct = int((actual == wanted).sum())
    score = max(0.0, sum(max(0.0, 100.0 - d) for d in far) / len(far))
    failures = sum(r.bucket == "100%+" for r in results)
    return DeviationMetrics(score, len(far), failures, sum(far) / len(far), correct, correct / len(far), results)


def _bucket(deviation: float) -> str:
    return next(name for name, (_, high) in BUCKETS.items() if deviation <= high)


def classes_said(output: Array, y: Array, loss: object, *, probabilities: bool) -> tuple[Array, Array, int] | None:
    """Return the classes that outputs say, the true ones, and how many there are; None for targets that are no classes.

    Integers with an axis less than the output are classes: said is the largest output, the first of several. Of one
    output and the binary cross-entropy, 0 and 1 are two classes: 1 is said above 0.5, of logits above 0.
    """
    if y.dtype.kind in WHOLE and output.ndim > y.ndim:
        return output.argmax(-1), y, output.shape[-1]
    is_one = output.shape == y.shape and y.size == len(y) and loss == "binary_cross_entropy"
    if not is_one or not ((y == 0) | (y == 1)).all():
        return None
    return (output > (0.5 if probabilities else 0)).astype(np.int32), y.astype(np.int32), 2


def confusion_of(predicted: Array, classes: Array, count: int) -> Array:
    """Return how often a class (row) was taken for another (column): int64 of shape (count, count)."""
    found = np.zeros((count, count), np.int64)
    np.add.at(found, (classes.reshape(-1), predicted.reshape(-1)), 1)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """What a network does on samples. ``accuracy``, ``confusion`` (rows: the true class) of classes, else None.

    Of several outputs ``loss`` is the sum, and ``outputs`` has the evaluation of each by name; those are empty else.
    """

    samples: int
    loss: float
    accuracy: float | None
    confusion: Array | None
    deviation: DeviationMetrics | None
    outputs: Mapping[str, Evaluation] = field(default_factory=dict[str, "Evaluation"])

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        confusion = None if self.confusion is None else self.confusion.tolist()
        deviation = None if self.deviation is None else self.deviation.to_dict()
        found = {
            "samples": self.samples, "loss": self.loss, "accuracy": self.accuracy, "confusion": confusion,
            "deviation": deviation,
        }  # fmt: skip
        return found | ({"outputs": {n: e.to_dict() for n, e in self.outputs.items()}} if self.outputs else {})


def evaluation_of(output: Array, y: Array, value: float, loss: str | Loss, *, probabilities: bool) -> Evaluation:
    """Return what an output is worth for targets, ``value`` being that of the loss."""
    deviation = deviation_metrics(output, y) if y.size == len(y) else None
    told = classes_said(output, y, loss, probabilities=probabilities)
    if told is None:
        return Evaluation(len(y), value, None, None, deviation)
    said, true, _ = told
    return Evaluation(len(y), value, float((said == true).mean()), confusion_of(*told), deviation)
