"""Correlation of features: Pearson and Spearman, strong pairs, one feature with all, as the older programs' JSON.

Layer: nn. Sums of products are computed on the device, roots and quotients in doubles on the host. Invariant: the
matrix is symmetric, its diagonal 1, and a feature that does not vary has 0 with all others.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import field
from typing import Any

import numpy as np

from loom import tensor
from loom.core.arrays import Array
from loom.core.dtype import DType, f64
from loom.core.errors import ArgumentError, DTypeError, near_matches
from loom.core.given import is_int, is_list, is_mapping, items, one_of
from loom.core.late.dataclass import dataclass
from loom.core.numbers import real, whole
from loom.nn.measure.tables import exponent_of, read_rows, scale
from loom.runtime.port.device import Device

__all__ = ["Correlation", "FeaturePair", "correlate"]

_METHODS = ("pearson", "spearman")


@dataclass(frozen=True, slots=True)
class FeaturePair:
    """Two features and their correlation."""

    feature1: str
    feature2: str
    correlation: float

    def to_dict(self) -> dict[str, Any]:
        """Return it under the older programs' keys."""
        return {"feature1": self.feature1, "feature2": self.feature2, "correlation": self.correlation,
                "abs_correlation": abs(self.correlation)}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Correlation:
    """How features go together: ``matrix`` (features, features) of -1 to 1, by their ``labels``.

    ``means``, ``std_devs`` (of all, divided by n), ``mins``, ``maxs``: of each feature; ``samples``: how many there
    were. ``method``: pearson, or spearman, that of ranks.
    """

    labels: tuple[str, ...]
    matrix: Array = field(repr=False)
    samples: int
    means: Array = field(repr=False)
    std_devs: Array = field(repr=False)
    mins: Array = field(repr=False)
    maxs: Array = field(repr=False)
    method: str = "pearson"

    def strong_pairs(self, threshold: float = 0.7, most: int | None = None) -> list[FeaturePair]:
        """Return pairs of strong correlation, the strongest first, equal ones in the features' order.

        Args:
            threshold: Least distance of a correlation from 0, up to 1.
            most: Most pairs; None: all.

        Raises:
            ArgumentError: The threshold is not from 0 to 1; not a whole number, at least 0.
        """
        where = "Correlation.strong_pairs"
        least = real(threshold, f"{where}, threshold")
        if not 0 <= least <= 1:
            raise ArgumentError(f"{where}, threshold", "out of range", expected="0 to 1", got=threshold,
                                remedy="Pass how far from 0 a strong one is")  # fmt: skip
        limit = None if most is None else whole(most, f"{where}, most", least=0)
        rows, columns = np.triu_indices(len(self.labels), 1)
        values = self.matrix[rows, columns]
        order = np.argsort(-np.abs(values), kind="stable")
        found = order[np.abs(values[order]) >= least].tolist()
        return [FeaturePair(self.labels[rows[i]], self.labels[columns[i]], float(values[i])) for i in found[:limit]]

    def of(self, feature: str | int) -> dict[str, float]:
        """Return every other feature's correlation with one, strongest first.

        Args:
            feature: Label or number of the feature.

        Raises:
            ArgumentError: There is no such feature.
        """
        at = self._place(feature)
        row = self.matrix[at]
        order = [i for i in np.argsort(-np.abs(row), kind="stable").tolist() if i != at]
        return {self.labels[i]: float(row[i]) for i in order}

    def _place(self, feature: str | int) -> int:
        count = len(self.labels)
        if is_int(feature) and -count <= feature < count:
            return int(feature) % count
        if not isinstance(feature, str) or feature not in self.labels:
            raise ArgumentError("Correlation.of", f"there is no feature {feature!r}",
                                expected=", ".join(self.labels)[:80],
                                remedy=near_matches(str(feature), self.labels) or "Pass a label")  # fmt: skip
        return self.labels.index(str(feature))

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON takes it, under the older programs' keys."""
        inner = {"labels": list(self.labels), "matrix": self.matrix.tolist(), "n": len(self.labels),
                 "samples": self.samples, "method": self.method}  # fmt: skip
        return {"correlation": inner} | {n: getattr(self, n).tolist() for n in ("means", "std_devs", "mins", "maxs")}

    @classmethod
    def from_dict(cls, found: Any) -> Correlation:
        """Return a correlation of what ``to_dict``, or a program of the first generation, wrote.

        Args:
            found: Mapping of its parts.

        Raises:
            ArgumentError: Not a correlation, or numbers that contradict each other.
        """
        where = "Correlation.from_dict"
        inner = found.get("correlation") if is_mapping(found) else None
        if not is_mapping(inner) or not is_list(inner.get("matrix")):
            raise ArgumentError(where, "no correlation", expected="'correlation' with a 'matrix'",
                                got=repr(found)[:80], remedy="Check which file it is")  # fmt: skip
        matrix, _ = read_rows(inner["matrix"], f"{where}, matrix")
        labels = _labels(inner.get("labels"), matrix.shape[1], where)
        if (
            matrix.shape[0] != matrix.shape[1]
            or (np.abs(matrix) > 1 + 1e-6).any()
            or (np.abs(matrix - matrix.T) > 1e-6).any()
            or (np.abs(np.diag(matrix) - 1) > 1e-6).any()
        ):
            raise ArgumentError(f"{where}, matrix", "not correlations",
                                expected="a symmetric matrix of -1 to 1, its diagonal 1",
                                got=f"shape {matrix.shape}", remedy="Check which file it is")  # fmt: skip
        rest: list[Array] = []
        for name in ("means", "std_devs", "mins", "maxs"):
            values = read_rows(found.get(name, ()), f"{where}, {name}")[0].reshape(-1)
            if len(values) != len(labels):
                raise ArgumentError(f"{where}, {name}", "not one number for each feature", expected=len(labels),
                                    got=len(values), remedy="Check which file it is")  # fmt: skip
            rest.append(values.astype(np.float64))
        if (rest[1] < 0).any() or (rest[2] > rest[3]).any() or inner.get("n", len(labels)) != len(labels):
            raise ArgumentError(where, "numbers that contradict each other",
                                expected=f"n of {len(labels)}, std_devs of at least 0, mins below maxs",
                                got=repr(found)[:80], remedy="Check which file it is")  # fmt: skip
        samples = whole(inner.get("samples", 0), f"{where}, samples", least=0)
        method = one_of(inner.get("method", "pearson"), f"{where}, method", _METHODS)
        return cls(labels, matrix.astype(np.float64), samples, *rest, method=method)

    def to_json(self) -> str:
        """Return ``to_dict`` as a text."""
        return json.dumps(self.to_dict(), allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Correlation:
        """Return the correlation of a text.

        Args:
            text: JSON.

        Raises:
            ArgumentError: Not JSON; not a correlation, or numbers that contradict each other.
            DTypeError: Not a text.
        """
        if not isinstance(text, (str, bytes)):
            raise DTypeError("Correlation.from_json", "not a text", expected="str or bytes", got=type(text).__name__,
                             remedy="Pass JSON, or use from_dict")  # fmt: skip
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ArgumentError("Correlation.from_json", f"not JSON ({error})",
                                remedy="Check which file it is") from None  # fmt: skip
        return cls.from_dict(found)

    def __str__(self) -> str:
        """Return the matrix as a table."""
        rows = [["", *self.labels], *([n, *(f"{v:.3f}" for v in r)] for n, r in zip(self.labels, self.matrix.tolist(),
                                                                                   strict=True))]  # fmt: skip
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows))]
        return "\n".join("  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def correlate(
    x: Any, labels: Sequence[str] | None = None, method: str = "pearson", *, on: str | Device | None = None
) -> Correlation:
    """Return the correlations of the features of samples.

    Spreads divide by n. A feature that does not vary has 0 with every other.

    Args:
        x: Samples (n, features), n at least 2.
        labels: Names of the features; None: F0, F1, ...
        method: "pearson", or "spearman": of the ranks, equal numbers having the mean of theirs.
        on: Device, or its name; None: the default device.

    Raises:
        ArgumentError: Labels that do not fit; there is no such method.
        DTypeError: Not numbers.
        EmptyError: Less than 2 samples.
        NotFinite: NaN or an infinity among them.

    >>> correlate([[1, 2], [2, 4], [3, 7]], ["a", "b"]).of("a")["b"] > 0.99
    True
    """
    where = "measure.correlate"
    one_of(method, f"{where}, method", _METHODS)
    rows, dtype = read_rows(x, f"{where}, x", least=2)
    names = _labels(labels, rows.shape[1], where)
    ranked = np.stack([_ranks(c) for c in rows.T], 1) if method == "spearman" else rows
    matrix, spread = _matrix(ranked, f64 if method == "spearman" else dtype, on)
    if method == "spearman":
        spread = _matrix(rows, dtype, on)[1]
    means = np.array([_mean(column) for column in rows.T.astype(np.float64)])
    edges = rows.min(0).astype(np.float64), rows.max(0).astype(np.float64)
    return Correlation(names, matrix, len(rows), means, spread, *edges, method=method)


def _labels(given: Any, count: int, where: str) -> tuple[str, ...]:
    if given is None:
        return tuple(f"F{i}" for i in range(count))
    names = tuple(str(name) for name in items(given, f"{where}, labels", "names"))
    if len(names) != count or len(set(names)) != count:
        raise ArgumentError(f"{where}, labels", "not a name of its own for each feature", expected=count,
                            got=str(list(names))[:80], remedy="Pass as many as there are features")  # fmt: skip
    return names


def _mean(column: Array) -> float:
    """Return the mean: sums in the order of numpy's cumulative sums, which is that of the samples."""
    exponent = exponent_of(column)
    return float(scale(np.cumsum(scale(column, -exponent))[-1] / len(column), exponent))


def _matrix(rows: Array, dtype: DType, on: str | Device | None) -> tuple[Array, Array]:
    """Return correlations and standard deviations, f64, of sums of products that the device computes.

    Features are brought near 1 by powers of two, which changes no bit of a correlation, so that no square is lost.
    """
    n = len(rows)
    exponents = np.frexp(np.abs(rows).max(0))[1]
    rows = np.ldexp(rows, -exponents)
    x = tensor.input("x", rows.shape, dtype)
    away = x - x.mean(0, keepdims=True)
    program = tensor.compile([tensor.matmul(tensor.transpose(away), away, precision="full")], on=on, name="correlation")
    program.run(x=rows)
    products = program.read()[0].astype(np.float64)
    program.free()
    squares = np.where(rows.max(0) == rows.min(0), 0.0, np.diag(products))
    varies = squares > 0
    safe = np.where(varies, squares, 1.0)
    found = np.clip(products / np.sqrt(safe[:, None] * safe[None, :]), -1.0, 1.0)
    found = np.triu(found * (varies[:, None] & varies[None, :]), 1)
    return found + found.T + np.eye(len(found)), np.ldexp(np.sqrt(squares / n), exponents)


def _ranks(column: Array) -> Array:
    """Return ranks from 1, equal numbers having the mean of theirs."""
    order = np.argsort(column, kind="stable")
    ranked = column[order]
    first = np.searchsorted(ranked, ranked, side="left")
    last = np.searchsorted(ranked, ranked, side="right")
    found = np.empty(len(column))
    found[order] = (first + 1 + last) / 2
    return found
