"""Out-of-distribution detection: samples that lie far from all clusters of those that are known.

Layer: nn. Invariant: a sample's score is its distance from the nearest centroid, so that scores, threshold and answers
follow from the known samples, the settings and the seed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import field
from typing import Any, Protocol

import numpy as np

from loom.core.arrays import Array, read_as
from loom.core.dtype import f32, f64
from loom.core.errors import ArgumentError
from loom.core.given import is_mapping, one_of
from loom.core.late.dataclass import dataclass
from loom.core.numbers import real
from loom.nn.inspect.activity import Observation
from loom.nn.measure.clustering import Clusters, kmeans, nearest_centroid
from loom.nn.measure.ranking import RocCurve, roc_curve
from loom.nn.measure.tables import read_rows
from loom.runtime.port.device import Device

__all__ = ["Observed", "OutlierDetector", "layer_features"]


class Observed(Protocol):
    """A network whose layers can be looked at: ``loom.Network``."""

    def observe(self, callback: Any = None, *, layers: Any = None, threshold: float = 0.0) -> Observation:
        """See what layers do."""
        ...

    def predict(self, x: Any) -> Any:
        """Run it."""
        ...


def layer_features(network: Observed, x: Any, layer: str | int) -> Array:
    """Return the outputs of a layer of a network for samples.

    Args:
        network: Network.
        x: Samples (n, *shape).
        layer: Name of the layer, or the number of its node.

    Returns:
        Array (n, features), further axes joined.

    Raises:
        ArgumentError: There is no such layer.
        DTypeError: Not numbers.
        ShapeError: Samples of another shape.
        EmptyError: No samples.
        NotFinite: NaN or an infinity among them.
    """
    with network.observe(layers=layer) as seen:
        network.predict(x)
    (name,) = seen.names or ("",)
    found = seen.outputs(name)
    return found.reshape(len(found), -1)


@dataclass(frozen=True, slots=True, eq=False)
class OutlierDetector:
    """Centroids of known samples' features, and the distance from them beyond which a sample is an outlier.

    >>> known = [[0.0, 0.0], [0.0, 1.0], [9.0, 9.0], [9.0, 8.0]]
    >>> OutlierDetector.fit(known, clusters=2, quantile=1.0).is_outlier([[0.5, 0.5], [5.0, 5.0]]).tolist()
    [False, True]
    """

    centroids: Array = field(repr=False)
    threshold: float
    quantile: float
    clusters: Clusters | None = field(default=None, repr=False)

    @classmethod
    def fit(
        cls, features: Any, clusters: int = 8, quantile: float = 0.95, *, seed: int = 0, start: str = "k-means++",
        on: str | Device | None = None,
    ) -> OutlierDetector:  # fmt: skip
        """Return a detector of the k-means clusters of known samples' features.

        ``threshold``: the least distance that the share ``quantile`` of them is within. Of a network's layer:
        ``layer_features``.

        Args:
            features: Features (n, size) of known samples.
            clusters: Number of clusters.
            quantile: Share of the known samples within the threshold, above 0 and at most 1.
            seed: Seed of random choices.
            start: Start of ``kmeans``.
            on: Device, or its name; None: the default device.

        Raises:
            ArgumentError: More clusters than samples; a number is out of range; there is no such start.
            DTypeError: Not numbers.
            EmptyError: No samples.
            NotFinite: NaN or an infinity among them.
        """
        where = "OutlierDetector.fit"
        share = _share(quantile, f"{where}, quantile")
        found = kmeans(features, clusters, start=start, seed=seed, on=on)
        near = np.sort(nearest_centroid(features, found.centroids, on=on)[1])
        return cls(found.centroids, float(near[max(math.ceil(share * len(near)), 1) - 1]), share, found)

    def scores(self, features: Any, *, on: str | Device | None = None) -> Array:
        """Return the distance (n) of samples' features from the nearest centroid: the larger, the stranger.

        Args:
            features: Features (n, size).
            on: Device, or its name; None: the default device.

        Raises:
            ArgumentError: Features of another size.
            DTypeError: Not numbers.
            NotFinite: NaN or an infinity among them.
        """
        return nearest_centroid(features, self.centroids, on=on)[1]

    def is_outlier(self, features: Any, *, on: str | Device | None = None) -> Array:
        """Return one truth (n) for each sample: whether it is beyond the threshold.

        Args:
            features: Features (n, size).
            on: Device, or its name; None: the default device.

        Raises:
            ArgumentError: Features of another size.
            DTypeError: Not numbers.
            NotFinite: NaN or an infinity among them.
        """
        return self.scores(features, on=on) > self.threshold

    def roc(self, known: Any, strange: Any, *, on: str | Device | None = None) -> RocCurve:
        """Return the ROC curve of features of samples that are known and of those that are not; ``.auc`` is 1 if all
        of these score higher.

        Args:
            known: Features (n, size) of known samples.
            strange: Features (m, size) of others.
            on: Device, or its name; None: the default device.

        Raises:
            ArgumentError: Features of another size.
            DTypeError: Not numbers.
            NotFinite: NaN or an infinity among them.
        """
        scores = [self.scores(each, on=on) for each in (known, strange)]
        return roc_curve(np.repeat([False, True], [len(s) for s in scores]), np.concatenate(scores))

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON takes it."""
        return {"centroids": self.centroids.tolist(), "dtype": self.centroids.dtype.name, "threshold": self.threshold,
                "quantile": self.quantile}  # fmt: skip

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> OutlierDetector:
        """Return the detector that ``to_dict`` gave.

        Args:
            found: Mapping of its parts.

        Raises:
            ArgumentError: Not a detector.
        """
        where = "OutlierDetector.from_dict"
        if not is_mapping(found) or not {"centroids", "threshold", "quantile"} <= set(found):
            raise ArgumentError(where, "no detector", expected="centroids, threshold, quantile",
                                got=repr(found)[:80], remedy="Check which file it is")  # fmt: skip
        kept = one_of(found.get("dtype", "float64"), f"{where}, dtype", ("float32", "float64"))
        centroids = read_as(found["centroids"], f32 if kept == "float32" else f64, f"{where}, centroids")
        threshold = real(found["threshold"], f"{where}, threshold", least=0)
        share = _share(found["quantile"], f"{where}, quantile")
        return cls(read_rows(centroids, f"{where}, centroids")[0], float(threshold), share)


def _share(quantile: Any, where: str) -> float:
    share = float(real(quantile, where))
    if not 0 < share <= 1:
        raise ArgumentError(where, "out of range", expected="above 0, up to 1", got=quantile,
                            remedy="Pass the share of known samples that is to be within")  # fmt: skip
    return share
