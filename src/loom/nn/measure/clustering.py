"""k-means clusters, and how well samples lie in them.

Layer: nn. Distances are computed on the device, by programs over ``loom.tensor``, of numbers that a power of two
brings near 1, so that no square of large or small ones is lost; means and sums over samples on the
host, in doubles, in the samples' order. Invariant: clusters depend on samples, settings and seed alone.
"""

from __future__ import annotations

import math
from dataclasses import field, replace
from typing import Any, cast

import numpy as np

from loom import tensor
from loom.core.arrays import Array
from loom.core.dtype import DType
from loom.core.errors import ArgumentError
from loom.core.given import one_of
from loom.core.late.dataclass import dataclass
from loom.core.numbers import real, whole
from loom.nn.measure.labels import read_labels, require_as_many
from loom.nn.measure.tables import exponent_of, permutation, read_rows, scale, slabs, word
from loom.runtime.port.device import Device
from loom.tensor import TensorProgram

__all__ = ["Clusters", "kmeans", "nearest_centroid", "silhouette", "silhouette_samples"]

_STARTS = ("random", "k-means++")
_ORDER, _AGAIN, _SPREAD = 0x4C570010, 0x4C570011, 0x4C570012
"""Streams of Philox: first points, points for empty clusters, and those spread by distance."""
_MOST_SEED = (1 << 64) - 1


@dataclass(frozen=True, slots=True, eq=False)
class Clusters:
    """``centroids`` (k, features), the ``assignments`` (n) of samples to them, and their ``counts`` (k).

    ``inertia``: the sum of squared distances of samples from their centroids; ``iterations`` made, and whether the
    assignments stopped changing (``is_settled``).
    """

    centroids: Array = field(repr=False)
    assignments: Array = field(repr=False)
    counts: Array
    inertia: float
    iterations: int
    is_settled: bool

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        arrays = {n: getattr(self, n).tolist() for n in ("centroids", "assignments", "counts")}
        return arrays | {"inertia": self.inertia, "iterations": self.iterations, "is_settled": self.is_settled}

    def assign(self, x: Any, *, on: str | Device | None = None) -> Array:
        """Return the nearest centroid of each of other samples.

        Args:
            x: Samples (n, features).
            on: Device, or its name; None: the default device.

        Returns:
            Numbers (n) of centroids.

        Raises:
            ArgumentError: Samples of other features.
            DTypeError: Not numbers.
            NotFinite: NaN or an infinity among them.
        """
        return nearest_centroid(x, self.centroids, on=on)[0]


def kmeans(
    x: Any, k: int, *, start: str = "random", iterations: int = 100, restarts: int = 1, seed: int = 0,
    on: str | Device | None = None,
) -> Clusters:  # fmt: skip
    """Return clusters of samples: each sample is nearest to the mean of its cluster.

    It ends when no assignment changes, or after ``iterations``; a cluster without samples moves to a random one. Of
    several ``restarts`` the clusters of the least inertia are taken, of equal ones the first. Random choices are
    Philox's of ``seed``. Of samples equally near to two centroids the first has it.

    Args:
        x: Samples (n, features).
        k: Number of clusters.
        start: "random", k different samples (E. Forgy, 1965), or "k-means++", samples far from those before (D. Arthur
            and S. Vassilvitskii, 2007).
        iterations: Most iterations.
        restarts: Number of starts, of which the clusters of the least inertia are taken.
        seed: Seed of random choices.
        on: Device, or its name; None: the default device.

    Raises:
        ArgumentError: More clusters than samples; a number is out of range; there is no such start.
        DTypeError: Not numbers.
        EmptyError: No samples.
        NotFinite: NaN or an infinity among them.

    >>> kmeans([[0.0], [1.0], [10.0], [11.0]], 2).inertia
    1.0

    Source: S. Lloyd, "Least squares quantization in PCM" (1982).
    """
    where = "measure.kmeans"
    rows, dtype = read_rows(x, f"{where}, x")
    count = whole(k, f"{where}, k", least=1)
    if count > len(rows):
        raise ArgumentError(f"{where}, k", "more clusters than samples", expected=f"1 to {len(rows)}", got=k,
                            remedy="Ask for fewer")  # fmt: skip
    one_of(start, f"{where}, start", _STARTS)
    most, turns = whole(iterations, f"{where}, iterations", least=1), whole(restarts, f"{where}, restarts", least=1)
    key = whole(seed, f"{where}, seed", least=0, most=_MOST_SEED)
    exponent = exponent_of(rows)
    search = _Lloyd(scale(rows, -exponent), dtype, count, key, on)
    found: list[Clusters] = []
    for turn in range(turns):
        found.append(search.run(search.spread(turn) if start == "k-means++" else search.draw(turn), turn, most))
    best = min(found, key=lambda c: c.inertia)
    inertia = float(scale(np.array(best.inertia), 2 * exponent))
    return replace(best, centroids=scale(best.centroids, exponent), inertia=inertia)


class _Lloyd:
    """The samples, and the program that finds the nearest of k centroids."""

    def __init__(self, rows: Array, dtype: DType, k: int, seed: int, on: str | Device | None) -> None:
        self.rows, self.k, self.seed = rows, k, seed
        self.nearest = _Nearest(rows.shape[1], k, dtype, on)
        self.dtype, self.on = dtype, on

    def draw(self, turn: int) -> Array:
        """Return k different samples."""
        return self.rows[permutation(len(self.rows), self.seed, _ORDER + (turn << 8))[: self.k]]

    def spread(self, turn: int) -> Array:
        """Return k samples, each drawn with chances by the squared distance from those before."""
        stream, n = _SPREAD + (turn << 8), len(self.rows)
        chosen = [word(self.seed, stream, 0, 0) % n]
        alone = _Nearest(self.rows.shape[1], 1, self.dtype, self.on)
        left = np.full(n, np.inf)
        while len(chosen) < self.k:
            left = np.minimum(left, alone.find(self.rows, self.rows[chosen[-1:]])[1])
            steps: Array = np.cumsum(left)
            aim = (word(self.seed, stream, len(chosen), 0) >> 11) * 2.0**-53 * steps[-1]
            at = int(cast("Any", np.searchsorted(steps, aim, side="right")))
            chosen.append(min(at, n - 1) if steps[-1] > 0 else word(self.seed, stream, len(chosen), 1) % n)
        return self.rows[chosen]

    def run(self, centroids: Array, turn: int, most: int) -> Clusters:
        """Move centroids until no assignment changes."""
        before = np.full(len(self.rows), -1)
        for step in range(1, most + 1):
            assigned, squares = self.nearest.find(self.rows, centroids)
            is_settled = bool((assigned == before).all())
            counts = np.bincount(assigned, minlength=self.k)
            if is_settled or step == most:
                return Clusters(centroids, assigned, counts, math.fsum(squares.tolist()), step, is_settled)
            before, centroids = assigned, self._means(assigned, counts, step, turn)
        raise AssertionError("at least one step is made")

    def _means(self, assigned: Array, counts: Array, step: int, turn: int) -> Array:
        sums = np.stack([np.bincount(assigned, column, minlength=self.k) for column in self.rows.T], 1)
        made = (sums / np.maximum(counts, 1)[:, None]).astype(self.rows.dtype)
        for empty in np.flatnonzero(counts == 0).tolist():
            made[empty] = self.rows[word(self.seed, _AGAIN + (turn << 8), empty, step) % len(self.rows)]
        return made


class _Nearest:
    """Finds the nearest of k centroids, some rows at a time: a program for each number of rows."""

    def __init__(self, features: int, k: int, dtype: DType, on: str | Device | None) -> None:
        self.features, self.k, self.dtype, self.on = features, k, dtype, on
        self.programs: dict[int, TensorProgram] = {}

    def find(self, rows: Array, centroids: Array) -> tuple[Array, Array]:
        """Return (n) which is nearest, the first of several, and the squares of the distances, as f64."""
        places: list[Array] = []
        squares: list[Array] = []
        for cut in slabs(len(rows), self.k * self.features):
            program = self._program(cut.stop - cut.start)
            program.run(x=rows[cut], c=centroids)
            place, square = program.read()
            places.append(place.astype(np.int64))
            squares.append(square.astype(np.float64))
        return np.concatenate(places), np.concatenate(squares)

    def _program(self, rows: int) -> TensorProgram:
        if rows not in self.programs:
            x = tensor.input("x", (rows, self.features), self.dtype)
            centroids = tensor.input("c", (self.k, self.features), self.dtype)
            away = tensor.expand_dims(x, 1) - tensor.expand_dims(centroids, 0)
            squares = (away * away).sum(-1)
            ends = [tensor.argmin(squares, axis=1), squares.min(1)]
            self.programs[rows] = tensor.compile(ends, on=self.on, name="nearest centroid")
        return self.programs[rows]


def nearest_centroid(x: Any, centroids: Any, *, on: str | Device | None = None) -> tuple[Array, Array]:
    """Return the nearest centroid of each sample, and its distance.

    Args:
        x: Samples (n, features).
        centroids: Centroids (k, features).
        on: Device, or its name; None: the default device.

    Returns:
        Numbers (n) of centroids, and distances (n), f64.

    Raises:
        ArgumentError: Samples and centroids of different features.
        DTypeError: Not numbers.
        NotFinite: NaN or an infinity among them.

    >>> nearest_centroid([[0.0, 4.0]], [[9.0, 9.0], [3.0, 0.0]])
    (array([1]), array([5.]))
    """
    where = "measure.nearest_centroid"
    rows, dtype = read_rows(x, f"{where}, x")
    known, other = read_rows(centroids, f"{where}, centroids")
    _require_features(where, rows, known)
    wide = dtype if dtype.nbytes >= other.nbytes else other
    exponent = exponent_of(rows, known)
    found, squares = _Nearest(rows.shape[1], len(known), wide, on).find(
        *(scale(a.astype(wide.numpy), -exponent) for a in (rows, known))
    )
    return found, scale(np.sqrt(squares), exponent)


def _require_features(where: str, rows: Array, known: Array) -> None:
    if rows.shape[1] != known.shape[1]:
        raise ArgumentError(where, "samples of other features than the centroids", expected=known.shape[1],
                            got=rows.shape[1], remedy="Pass samples of the same kind")  # fmt: skip


def silhouette(x: Any, assignments: Any, *, single: float = 0.0, on: str | Device | None = None) -> float:
    """Return the mean of ``silhouette_samples``: near 1 where clusters are tight and apart, below 0 where wrong.

    Args:
        x: Samples (n, features).
        assignments: Label (n) of each sample's cluster.
        single: Silhouette of a sample alone in its cluster, 0 or 1.
        on: Device, or its name; None: the default device.

    Raises:
        ArgumentError: Less than two clusters; ``single`` is neither 0 nor 1.
        DTypeError: Not numbers; not labels.
        ShapeError: Not as many samples as labels.
        NotFinite: NaN or an infinity among them.

    >>> silhouette([[0.0], [1.0], [10.0], [11.0]], [0, 0, 1, 1]) > 0.89
    True
    """
    return float(silhouette_samples(x, assignments, single=single, on=on).mean())


def silhouette_samples(x: Any, assignments: Any, *, single: float = 0.0, on: str | Device | None = None) -> Array:
    """Return (b - a) / max(a, b) of each sample (n, features): a is the mean distance from others of its cluster, b
    the least of those from another cluster's samples; 0 where both are 0.

    Args:
        x: Samples (n, features).
        assignments: Label (n) of each sample's cluster.
        single: Silhouette of a sample alone in its cluster: 0 as Rousseeuw has it, 1 as the older programs do.
        on: Device, or its name; None: the default device.

    Raises:
        ArgumentError: Less than two clusters; ``single`` is neither 0 nor 1.
        DTypeError: Not numbers; not labels.
        ShapeError: Not as many samples as labels.
        NotFinite: NaN or an infinity among them.

    Source: P. Rousseeuw, "Silhouettes" (1987).
    """
    where = "measure.silhouette"
    rows, dtype = read_rows(x, f"{where}, x")
    given = read_labels(assignments, f"{where}, assignments")
    require_as_many(where, x=rows, assignments=given)
    labels, places = np.unique(given, return_inverse=True)
    if len(labels) < 2:
        raise ArgumentError(f"{where}, assignments", "all samples are in one cluster", expected="at least 2 clusters",
                            got=1, remedy="Ask for more clusters")  # fmt: skip
    if real(single, f"{where}, single") not in (0, 1):
        raise ArgumentError(f"{where}, single", "not usable", expected="0 or 1", got=single, remedy="Correct it")
    counts = np.bincount(places)
    sums = _sums_by_cluster(scale(rows, -exponent_of(rows)), places, len(labels), dtype, on)
    own = np.arange(len(rows)), places
    with np.errstate(all="ignore"):
        within = sums[own] / (counts[places] - 1)
        means = sums / counts
        means[own] = np.inf
        beyond = means.min(1)
        found = (beyond - within) / np.maximum(within, beyond)
    found[np.maximum(within, beyond) == 0] = 0.0
    found[counts[places] == 1] = single
    return found


def _sums_by_cluster(rows: Array, places: Array, k: int, dtype: DType, on: str | Device | None) -> Array:
    """Return (n, k): the sums of distances of each sample from the samples of each cluster, f64."""
    n, features = rows.shape
    order = np.argsort(places, kind="stable")
    among = (places[:, None] == np.arange(k)).astype(rows.dtype)
    programs: dict[int, TensorProgram] = {}
    found = np.empty((n, k))
    for cut in slabs(n, n * features):
        size = cut.stop - cut.start
        if size not in programs:
            some = tensor.input("x", (size, features), dtype)
            others, ones = tensor.array(rows[order], on=on), tensor.array(among[order], on=on)
            away = tensor.expand_dims(some, 1) - tensor.expand_dims(others, 0)
            ends = [tensor.matmul((away * away).sum(-1).sqrt(), ones, precision="full")]
            programs[size] = tensor.compile(ends, on=on, name="silhouette")
        programs[size].run(x=rows[cut])
        found[cut] = programs[size].read()[0]
    return found
