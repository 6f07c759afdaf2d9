"""What a network does on samples: loss, accuracy, confusion, deviation, and what follows from them.

Layer: nn. Invariant: everything is computed in doubles on the host from the outputs' bits, the same everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import field
from typing import Any, cast

import numpy as np

from loom.core.arrays import Array
from loom.core.errors import NotFinite, StateError
from loom.core.late.dataclass import dataclass
from loom.nn.measure.classes import ClassReport, report_of
from loom.nn.measure.confidence import Calibration, calibration
from loom.nn.measure.deviation import DeviationMetrics, deviation_metrics
from loom.nn.measure.ranking import RocCurve, roc_auc, roc_curve, roc_curves
from loom.nn.train.losses import PADDING, Loss
from loom.nn.train.samples import WHOLE

__all__ = ["Evaluation", "chances_of", "classes_said", "confusion_of", "evaluation_of"]


def classes_said(output: Array, y: Array, loss: object, *, probabilities: bool) -> tuple[Array, Array, int] | None:
    """Return the classes that outputs say, the true ones, and how many there are; None for targets that are no classes.

    Integers with an axis less than the output are classes: said is the largest output, the first of several. Of one
    output and the binary cross-entropy, 0 and 1 are two classes: 1 is said above 0.5, of logits above 0. An output that
    holds a NaN says -1, no class. Padding is left out.
    """
    if y.dtype.kind in WHOLE and output.ndim > y.ndim:
        said = np.where(np.isnan(output).any(-1), -1, output.argmax(-1))
        counts = y != PADDING
        return (said, y, output.shape[-1]) if counts.all() else (said[counts], y[counts], output.shape[-1])
    is_one = output.shape == y.shape and y.size == len(y) and loss == "binary_cross_entropy"
    if not is_one or not ((y == 0) | (y == 1)).all():
        return None
    said = np.where(np.isnan(output), -1, output > (0.5 if probabilities else 0))
    return said.astype(np.int32), y.astype(np.int32), 2


def confusion_of(predicted: Array, classes: Array, count: int) -> Array:
    """Return how often a class (row) was taken for another (column): int64 of shape (count, count)."""
    found = np.zeros((count, count), np.int64)
    np.add.at(found, (classes.reshape(-1), predicted.reshape(-1)), 1)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """What a network does on samples. ``accuracy``, ``confusion`` (rows: the true class) of classes, else None.

    Of several outputs ``loss`` is the sum, and ``outputs`` has the evaluation of each by name; those are empty else.
    ``said``: probabilities (n, classes) of what are classes, from which ``roc``, ``auc`` and ``calibration`` follow.
    """

    samples: int
    loss: float
    accuracy: float | Any  # None without classes; `Any`, so that who has classes need not rule it out
    confusion: Array | Any
    deviation: DeviationMetrics | None
    outputs: Mapping[str, Evaluation] = field(default_factory=dict[str, "Evaluation"])
    names: tuple[str, ...] = ()
    said: Array | None = field(default=None, repr=False)
    true: Array | None = field(default=None, repr=False)

    def report(self) -> ClassReport:
        """Return precision, recall and F1 of each class; StateError for targets that are no classes."""
        if self.confusion is None:
            raise self._no_classes("report")
        return report_of(self.confusion, names=self.names)

    def roc(self) -> dict[str, RocCurve]:
        """Return the ROC curve of each class against the others, by its name; of two classes that of the second.

        StateError for targets that are no classes, ArgumentError if all samples are of one.
        """
        true, said = self._chances("roc")
        called = self.names or tuple(map(str, range(said.shape[1])))
        if said.shape[1] == 2:
            return {called[1]: roc_curve(true == 1, said[:, 1])}
        return {called[k]: curve for k, curve in roc_curves(true, said).items()}

    def auc(self, average: str = "macro") -> float:
        """Return the area under the ROC curve, of several classes ``roc_auc``'s average; errors as in ``roc``."""
        true, said = self._chances("auc")
        return roc_auc(true, said[:, 1] if said.shape[1] == 2 else said, average=average)

    def calibration(self, bins: int = 10) -> Calibration:
        """Return how often what was said with so much confidence was so; StateError for targets that are no classes."""
        return calibration(*self._chances("calibration"), bins)

    def _chances(self, what: str) -> tuple[Array, Array]:
        if self.said is None or self.true is None:
            raise self._no_classes(what)
        return self.true, self.said

    def _no_classes(self, what: str) -> StateError:
        several = ", ".join(self.outputs)
        return StateError(f"Evaluation.{what}", "the targets are no classes" if not several else "of several outputs",
                          expected="classes", got=several or "numbers",
                          remedy="Take outputs[name]" if several else "Use deviation and loss")  # fmt: skip

    def __str__(self) -> str:
        """Return samples and loss, and what there is of classes and deviation."""
        lines = [f"{self.samples} samples, loss {self.loss:.6g}"]
        lines += [] if self.confusion is None else [str(self.report())]
        lines += [] if self.deviation is None else [self.deviation.summary()]
        return "\n".join(lines + [f"--- {name}\n{each}" for name, each in self.outputs.items()])

    def brief(self) -> dict[str, Any]:
        """Return its figures as JSON takes them, without what is told of single samples."""
        found: dict[str, Any] = {"samples": self.samples, "loss": _json(self.loss)}
        if self.confusion is not None:
            macro = self.report().macro
            found |= {"accuracy": self.accuracy, "confusion": self.confusion.tolist(), "precision": macro.precision,
                      "recall": macro.recall, "f1": macro.f1}  # fmt: skip
        if self.deviation is not None:
            d = self.deviation
            found |= {"score": d.score, "avg_deviation": d.avg_deviation, "failures": d.failures, "buckets": d.counts}
        return found | ({"outputs": {n: e.brief() for n, e in self.outputs.items()}} if self.outputs else {})

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON takes it; a loss that is no finite number is None."""
        confusion = None if self.confusion is None else self.confusion.tolist()
        deviation = None if self.deviation is None else self.deviation.to_dict()
        found = {
            "samples": self.samples, "loss": _json(self.loss), "accuracy": self.accuracy, "confusion": confusion,
            "deviation": deviation,
        }  # fmt: skip
        found |= {} if self.confusion is None else {"report": self.report().to_dict()}
        return found | ({"outputs": {n: e.to_dict() for n, e in self.outputs.items()}} if self.outputs else {})


def _json(value: float) -> float | None:
    return value if math.isfinite(value) else None


def evaluation_of(
    output: Array, y: Array, value: float, loss: str | Loss, *, probabilities: bool, names: tuple[str, ...] = ()
) -> Evaluation:
    """Return what an output is worth for targets, ``value`` being that of the loss; ``names`` are the classes'.

    NotFinite if a NaN is among the outputs of classes: none is the largest then.
    """
    deviation = deviation_metrics(output, y) if y.size == len(y) else None
    told = classes_said(output, y, loss, probabilities=probabilities)
    if told is None:
        return Evaluation(len(y), value, None, None, deviation)
    if np.isnan(output).any():
        at = int(np.argwhere(np.isnan(output))[0][0])
        raise NotFinite("evaluate", f"the output of sample {at} is NaN", expected="numbers, of which one is largest",
                        got="NaN", remedy="See which layer makes it: network.observe()")  # fmt: skip
    said, true, _ = told
    chances = chances_of(output, probabilities=probabilities)
    if len(chances) != true.size:
        chances = chances[y.reshape(-1) != PADDING]
    return Evaluation(
        len(y), value, float((said == true).mean()), confusion_of(*told), deviation, names=names, said=chances,
        true=true.reshape(-1),
    )  # fmt: skip


def chances_of(output: Array, *, probabilities: bool) -> Array:
    """Return (samples, classes): the probability of each class, f64; of one output those of 0 and 1."""
    wide = np.asarray(output, np.float64).reshape(-1, output.shape[-1])
    if wide.shape[1] == 1:
        chance = wide if probabilities else 1 / (1 + np.exp(np.minimum(-wide, 700.0)))
        return np.concatenate([1 - chance, chance], 1)
    if probabilities:
        return np.clip(wide, 0.0, 1.0)
    most = wide.max(1, keepdims=True)
    with np.errstate(invalid="ignore"):
        found = cast("Array", np.where(np.isfinite(most), np.exp(wide - most), wide == most))
    return found / found.sum(1, keepdims=True)
