"""The older generations' deviation metrics: how far predictions are from what was expected, in percent of it.

Layer: nn. Invariant: everything follows from (sample, expected, actual), in doubles on the host, the same everywhere;
what is written is read back to the same numbers.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from typing import Any, cast

import numpy as np

from loom.core.arrays import Array, read_as
from loom.core.dtype import f64, i64
from loom.core.errors import ArgumentError, DTypeError, FileError, ShapeError
from loom.core.given import is_list, is_mapping, one_of, path
from loom.core.late.dataclass import dataclass
from loom.core.numbers import whole
from loom.formats.file_writes import write_file

__all__ = ["BUCKETS", "DeviationMetrics", "Prediction", "deviation_metrics"]

BUCKETS = {
    "0-10%": (0.0, 10.0), "10-20%": (10.0, 20.0), "20-30%": (20.0, 30.0), "30-40%": (30.0, 40.0),
    "40-50%": (40.0, 50.0), "50-100%": (50.0, 100.0), "100%+": (100.0, float("inf")),
}  # fmt: skip
"""Name -> deviation in percent, above the first number and up to the second."""

_NAMES = tuple(BUCKETS)
_NEARLY_ZERO = 1e-10
_INFINITE = 1e9
"""What JSON has in place of infinity."""
_NEAR = 1e-3
"""Two programs' sums may differ by so much, in percent."""
_MOST = int(sys.float_info.max)
_SHOWN = 5
"""Samples of a bucket that the summary names."""
_BAR = 50
"""Characters of a bar of all samples."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """One sample's: ``deviation`` in percent."""

    sample_index: int
    expected: float
    actual: float
    deviation: float
    bucket: str


class DeviationMetrics:
    """How far predictions are from what was expected, in percent of it.

    ``score``: 100 minus the deviations, those above 100 counting as 100, on average; ``accuracy``: the share that is
    exactly right; ``failures``: predictions off by more than 100 %. ``print(metrics)`` prints the summary.

    Args:
        expected: Numbers (n).
        actual: Predictions (n).
        indexes: Numbers of the samples (n), i64; None: 0, 1, ...

    Raises:
        DTypeError: Not numbers.
        ShapeError: Not as many, or none.

    >>> deviation_metrics([[1.0], [3.0], [10.0]], [1, 2, 3]).worst(1)[0].sample_index
    2
    """

    def __init__(self, expected: Any, actual: Any, indexes: Any = None) -> None:
        """Measure predictions of numbers."""
        self.expected, self.actual = (_numbers(a, "DeviationMetrics") for a in (expected, actual))
        count = len(self.expected)
        self.indexes = np.arange(count) if indexes is None else read_as(indexes, i64, "DeviationMetrics, indexes")
        if self.indexes.shape != (count,):
            raise ShapeError("DeviationMetrics, indexes", "not one for each sample", expected=(count,),
                             got=self.indexes.shape, remedy="Leave them out to count from 0")  # fmt: skip
        if not count or self.expected.shape != self.actual.shape:
            raise ShapeError("evaluate", "not one expected number for each sample", expected=self.actual.shape,
                             got=self.expected.shape,
                             remedy="Pass one number for each output" if count else "Pass some samples")  # fmt: skip
        self.deviations = _deviations(self.expected, self.actual)
        highs = np.array([high for _, high in BUCKETS.values()])
        places: Any = np.searchsorted(highs, self.deviations)
        self._places: list[int] = places.tolist()

    @property
    def total_samples(self) -> int:
        """How many there are."""
        return len(self.expected)

    @cached_property
    def score(self) -> float:
        """0 to 100, the larger the better."""
        return max(0.0, math.fsum(np.maximum(0.0, 100.0 - self.deviations).tolist()) / self.total_samples)

    @cached_property
    def avg_deviation(self) -> float:
        """The mean deviation in percent."""
        return math.fsum(self.deviations.tolist()) / self.total_samples

    @property
    def failures(self) -> int:
        """Predictions off by more than 100 %."""
        return self.counts["100%+"]

    @property
    def correct_count(self) -> int:
        """Predictions that are exactly right."""
        return int((self.actual == self.expected).sum())

    @property
    def accuracy(self) -> float:
        """The share of them, 0 to 1."""
        return self.correct_count / self.total_samples

    @cached_property
    def counts(self) -> dict[str, int]:
        """Samples of each bucket."""
        return dict(zip(_NAMES, np.bincount(self._places, minlength=len(_NAMES)).tolist(), strict=True))

    @property
    def results(self) -> tuple[Prediction, ...]:
        """All predictions, in the samples' order."""
        return self._predictions(range(self.total_samples))

    def _predictions(self, chosen: Sequence[int]) -> tuple[Prediction, ...]:
        return tuple(
            Prediction(int(self.indexes[i]), float(self.expected[i]), float(self.actual[i]), float(self.deviations[i]),
                       _NAMES[int(self._places[i])])
            for i in chosen
        )  # fmt: skip

    def worst(self, n: int = 5) -> tuple[Prediction, ...]:
        """Return the predictions that are off most, the worst first, of equal ones the first first.

        Args:
            n: Most predictions.

        Raises:
            ArgumentError: Not a whole number, at least 0.
        """
        most = whole(n, "DeviationMetrics.worst, n", least=0)
        order = np.argsort(-self.deviations, kind="stable")[:most]
        return self._predictions(order.tolist())

    def samples_in(self, bucket: str) -> list[int]:
        """Return the numbers of a bucket's samples.

        Args:
            bucket: Name of the bucket.

        Raises:
            ArgumentError: There is no such bucket.
        """
        name = one_of(bucket, "DeviationMetrics.samples_in, bucket", _NAMES)
        return self.indexes[np.array(self._places) == _NAMES.index(name)].tolist()

    def __eq__(self, other: object) -> bool:
        """Tell whether another has the same samples, expected and predicted numbers."""
        if not isinstance(other, DeviationMetrics):
            return NotImplemented
        pairs = [(getattr(self, n), getattr(other, n)) for n in ("indexes", "expected", "actual")]
        return all(np.array_equal(a, b, equal_nan=True) for a, b in pairs)

    __hash__ = None  # type: ignore[assignment] # pyright: ignore[reportAssignmentType] - as of what holds arrays

    def __repr__(self) -> str:
        """Return score, mean deviation and failures."""
        return (f"<DeviationMetrics of {self.total_samples} samples: score {self.score:.4g}, average deviation "
                f"{self.avg_deviation:.4g}%, {self.failures} failures>")  # fmt: skip

    # as text

    def __str__(self) -> str:
        """Return the summary."""
        return self.summary()

    def summary(self, worst: int = 5) -> str:
        """Return what the older programs print: sums, a bar for each bucket, the worst that are off, and samples by
        bucket.

        Args:
            worst: Most predictions that are listed.

        Raises:
            ArgumentError: Not a whole number, at least 0.
        """
        n = self.total_samples
        lines = [
            "=== Model Evaluation Summary ===",
            f"Total Samples: {n}",
            f"Quality Score: {self.score:.1f}/100",
            f"Average Deviation: {self.avg_deviation:.1f}%",
            f"Failures (>100% deviation): {self.failures} ({100 * self.failures / n:.1f}%)",
            "",
            "Deviation Distribution:",
            *self.bars().splitlines(),
        ]
        found = [p for p in self.worst(worst) if p.deviation > 0]
        if found:
            lines += ["", f"=== Worst {len(found)} Predictions ==="]
            lines += [f"{k}. {_line(p)}" for k, p in enumerate(found, 1)]
        return "\n".join([*lines, "", "=== Samples by Performance ===", *self._by_bucket()])

    def bars(self) -> str:
        """Return a line for each bucket: how many samples, their share, and a bar of it."""
        n, most = self.total_samples, max(4, len(str(self.total_samples)))
        lines: list[str] = []
        for name, count in self.counts.items():
            share = f"({100 * count / n:.1f}%)"
            bar = "█" * max(_BAR * count // n, 1 if count else 0)
            lines.append(f"{name:>10}: {count:>{most}} samples {share:<8} {bar}".rstrip())
        return "\n".join(lines)

    def _by_bucket(self) -> list[str]:
        lines: list[str] = []
        for name, count in self.counts.items():
            if not count:
                continue
            shown = " ".join(map(str, self.samples_in(name)[:_SHOWN]))
            more = f" ... ({count - _SHOWN} more)" if count > _SHOWN else ""
            lines.append(f"{name:>8}: {count} samples - [{shown}]{more}")
        return lines

    # as JSON

    def to_dict(self) -> dict[str, Any]:
        """Return it with its buckets, as the older generations' JSON has it: infinity as 1e9, NaN as None."""
        buckets: dict[str, Any] = {}
        for name, (low, high) in BUCKETS.items():
            samples = self.samples_in(name)
            buckets[name] = {"range_min": low, "range_max": _plain(high), "count": len(samples), "samples": samples}
        results = [{key: _plain(value) for key, value in asdict(r).items()} for r in self.results]
        return {
            "buckets": buckets, "score": self.score, "total_samples": self.total_samples, "failures": self.failures,
            "results": results, "avg_deviation": _plain(self.avg_deviation), "correct_count": self.correct_count,
            "accuracy": self.accuracy,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, found: Any) -> DeviationMetrics:
        """Return the metrics that ``to_dict``, or a program of the first generation, wrote.

        Args:
            found: Mapping of its parts.

        Raises:
            ArgumentError: Not an evaluation; sums that its results contradict.
        """
        where = "DeviationMetrics.from_dict"
        if not is_mapping(found) or not is_list(found.get("results")) or not found["results"]:
            raise ArgumentError(where, "no evaluation", expected="'results', one for each sample",
                                got=repr(found)[:80], remedy="Check which file it is")  # fmt: skip
        rows = [_row(r, n) for n, r in enumerate(found["results"])]
        made = cls([r[1] for r in rows], [r[2] for r in rows], [r[0] for r in rows])
        for key in ("score", "avg_deviation", "total_samples", "failures", "correct_count", "accuracy"):
            _agree(where, key, found.get(key), _plain(getattr(made, key)))
        for n, (row, far) in enumerate(zip(found["results"], made.deviations.tolist(), strict=True)):
            _agree(f"{where}, results[{n}]", "deviation", row.get("deviation"), far)
        _agree_buckets(found.get("buckets"), made)
        return made

    def to_json(self) -> str:
        """Return ``to_dict`` as a text."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> DeviationMetrics:
        """Return the metrics of a text.

        Args:
            text: JSON.

        Raises:
            ArgumentError: Not JSON; not an evaluation; sums that its results contradict.
            DTypeError: Not a text.
        """
        where = "DeviationMetrics.from_json"
        if not isinstance(text, (str, bytes)):
            raise DTypeError(where, "not a text", expected="str or bytes", got=type(text).__name__,
                             remedy="Pass JSON, or use from_dict")  # fmt: skip
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ArgumentError(where, f"not JSON ({error})", remedy="Check which file it is") from None
        return cls.from_dict(found)

    def save(self, file: str | os.PathLike[str]) -> None:
        """Write ``to_json`` to a file.

        Args:
            file: File.

        Raises:
            DTypeError: Not a path.
            FileError: It cannot be written.
        """
        write_file(path(file, "DeviationMetrics.save"), f"{self.to_json()}\n".encode(), "DeviationMetrics.save")

    @classmethod
    def load(cls, file: str | os.PathLike[str]) -> DeviationMetrics:
        """Return the metrics of a file, Loom's or of the first generation.

        Args:
            file: File.

        Raises:
            ArgumentError: Not JSON; not an evaluation; sums that its results contradict.
            DTypeError: Not a path.
            FileError: It cannot be read.
        """
        place = path(file, "DeviationMetrics.load")
        try:
            data = place.read_bytes()
        except OSError as error:
            raise FileError("DeviationMetrics.load", f"the file cannot be read ({error.strerror})",
                            expected="JSON of an evaluation", got=str(place)[:200],
                            remedy="Check the path") from None  # fmt: skip
        return cls.from_json(data)


def deviation_metrics(outputs: Any, expected: Any) -> DeviationMetrics:
    """Return the metrics of outputs for numbers, or classes, that were expected.

    A prediction is the output itself if it is one number, else the index of its largest element, the first of several.
    Deviation: |a - e| / |e| in percent, |a - e| where |e| < 1e-10; 100 if that is no finite number.

    Args:
        outputs: Outputs (n, ...).
        expected: Numbers or classes (n).

    Raises:
        DTypeError: Not numbers.
        ShapeError: Not one number for each sample, or no samples.

    >>> deviation_metrics([[0.1, 0.9], [0.8, 0.2]], [1, 1]).score
    50.0
    """
    found = read_as(outputs, f64, "evaluate, outputs")
    if found.ndim and not found.size:
        raise ShapeError("evaluate, outputs", "no numbers", expected="at least 1 for each sample", got=found.shape,
                         remedy="Pass some samples")  # fmt: skip
    wanted = read_as(expected, f64, "evaluate, expected").reshape(-1)
    if found.ndim == 0 or len(found) != len(wanted) or not len(wanted) or not found.size:
        raise ShapeError("evaluate", "not one expected number for each sample", expected=found.shape[:1],
                         got=wanted.shape, remedy="Pass one number for each output")  # fmt: skip
    rows = found.reshape(len(found), -1)
    actual = rows[:, 0] if rows.shape[1] == 1 else _first_largest(rows)
    return DeviationMetrics(wanted, actual)


def _first_largest(rows: Array) -> Array:
    """Return the index of each row's largest number, the first of several; NaN for a row that holds a NaN."""
    found = rows.argmax(1).astype(np.float64)
    found[np.isnan(rows).any(1)] = np.nan
    return found


def _numbers(values: Any, where: str) -> Array:
    return read_as(values, f64, where).reshape(-1)


def _deviations(expected: Array, actual: Array) -> Array:
    with np.errstate(all="ignore"):
        away = np.abs(actual - expected)
        far = np.where(np.abs(expected) < _NEARLY_ZERO, away, np.abs(away / expected)) * 100.0
    return np.where(np.isfinite(far), far, 100.0)


def _plain(value: Any) -> Any:
    """Return a value as JSON takes it."""
    if not isinstance(value, float) or math.isfinite(value):
        return value
    return None if math.isnan(value) else math.copysign(_INFINITE, value)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _row(result: Any, number: int) -> tuple[int, float, float]:
    """Return the sample, and the expected and predicted numbers, of a result; infinities are told by the deviation."""
    where = f"DeviationMetrics.from_dict, results[{number}]"
    given: Mapping[str, Any] = cast("Mapping[str, Any]", result) if is_mapping(result) else dict[str, Any]()
    values = [given.get(key, "nothing") for key in ("expected", "actual")]
    sample, far = given.get("sample_index", number), given.get("deviation")
    if not all(v is None or _is_number(v) for v in values) or not isinstance(sample, int) or isinstance(sample, bool):
        raise ArgumentError(where, "no result of a sample", expected="sample_index, expected, actual",
                            got=repr(result)[:80], remedy="Check which file it is")  # fmt: skip
    if any(isinstance(v, int) and abs(v) > _MOST for v in values) or abs(sample) >= 1 << 63:
        raise ArgumentError(where, "a number that is none of f64", expected="up to 1.8e308, samples of 64 bits",
                            got=repr(result)[:80], remedy="Check which file it is")  # fmt: skip
    expected, actual = (math.nan if v is None else float(v) for v in values)
    if far == 100.0 and _INFINITE in (abs(expected), abs(actual)) and _far(expected, actual) != far:
        expected, actual = (math.copysign(math.inf, v) if abs(v) == _INFINITE else v for v in (expected, actual))
    return sample, expected, actual


def _agree(where: str, key: str, told: Any, is_one: Any) -> None:
    """See that a number that is told is that of the results."""
    if told is not None and not (_is_number(told) and abs(told - is_one) <= _NEAR * max(1.0, abs(is_one))):
        raise ArgumentError(where, f"{key!r} is not that of the results", expected=is_one, got=repr(told)[:80],
                            remedy="The file was changed: evaluate again")  # fmt: skip


def _agree_buckets(told: Any, made: DeviationMetrics) -> None:
    """See that buckets have as many samples as are told, but for those at an edge, where programs round apart."""
    edges = np.array([high for _, high in BUCKETS.values()][:-1])
    most = int((np.abs(made.deviations[:, None] - edges).min(1) <= _NEAR).sum())
    for name, count in made.counts.items() if is_mapping(told) else ():
        given = told.get(name)
        held = given.get("count", count) if is_mapping(given) else count
        if not _is_number(held) or abs(held - count) > most:
            raise ArgumentError(f"DeviationMetrics.from_dict, buckets[{name!r}]", "'count' is not that of the results",
                                expected=count, got=repr(held)[:80],
                                remedy="The file was changed: evaluate again")  # fmt: skip


def _far(expected: float, actual: float) -> float:
    return float(_deviations(np.array([expected]), np.array([actual]))[0])


def _line(p: Prediction) -> str:
    return (f"Sample #{p.sample_index}: Expected {p.expected:.6g}, Predicted {p.actual:.6g}, "
            f"Deviation: {p.deviation:.1f}%")  # fmt: skip
