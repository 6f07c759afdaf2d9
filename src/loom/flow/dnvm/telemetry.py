"""Telemetry, correlation and clusters by the older names: blueprints, observers, methods, ...

Layer: flow, over ``loom.nn.inspect`` and ``loom.nn.measure``. Invariant: the JSON's keys are those of sections 6, 11
and 14 of design/dnvm.md; a silhouette of a single sample is 1, as there.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from loom.core.errors import ArgumentError
from loom.core.given import is_mapping, text
from loom.flow.dnvm.current import current_network
from loom.nn.inspect import methods
from loom.nn.inspect.activity import LayerEvent, Observation
from loom.nn.measure.clustering import kmeans, silhouette
from loom.nn.measure.correlation import Correlation, correlate
from loom.nn.measure.deviation import DeviationMetrics
from loom.nn.network import Network

__all__ = [
    "compute_correlation", "compute_spearman_correlation", "extract_network_blueprint", "get_correlations_with",
    "get_method_signature", "get_methods_json", "get_samples_in_bucket", "get_strong_correlations",
    "get_worst_samples", "has_method", "kmeans_cluster", "list_methods", "load_metrics", "print_summary",
    "save_metrics", "set_layer_observer", "silhouette_score",
]  # fmt: skip

Metrics = Mapping[str, Any] | DeviationMetrics
"""What ``evaluate_network_simple`` gives, or the metrics themselves."""


def _metrics(found: Metrics) -> DeviationMetrics:
    return found if isinstance(found, DeviationMetrics) else DeviationMetrics.from_dict(found)


def print_summary(metrics: Metrics) -> None:
    """Print an evaluation: sums, a bar for each bucket, the worst five, samples by bucket."""
    print(_metrics(metrics).summary())


def save_metrics(metrics: Metrics, path: str | os.PathLike[str]) -> None:
    """Write an evaluation as JSON."""
    _metrics(metrics).save(path)


def load_metrics(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return an evaluation that was written."""
    return DeviationMetrics.load(path).to_dict()


def get_worst_samples(metrics: Metrics, n: int = 5) -> list[dict[str, Any]]:
    """Return the results that are off most, the worst first."""
    found = _metrics(metrics)
    names = ("sample_index", "expected", "actual", "deviation", "bucket")
    return [{name: getattr(p, name) for name in names} for p in found.worst(n)]


def get_samples_in_bucket(metrics: Metrics, bucket: str) -> list[int]:
    """Return the numbers of a bucket's samples."""
    return _metrics(metrics).samples_in(bucket)


def extract_network_blueprint(model_id: str | None = None) -> dict[str, Any]:
    """Return the current network's blueprint, under ``model_id``, if it is given."""
    found = current_network().blueprint().to_dict()
    if model_id is not None:
        found["models"][0]["id"] = text(model_id, "extract_network_blueprint, model_id")
    return found


def set_layer_observer(callback: Callable[[dict[str, Any]], object]) -> Observation:
    """Have ``callback`` told of each layer of each pass of the current network, as a dict of the older keys; ``close``
    what is returned to end it."""

    def tell(event: LayerEvent) -> None:
        callback(event.to_dict())

    if not callable(callback):
        raise ArgumentError("set_layer_observer, callback", "not callable", expected="a function of a dict",
                            got=repr(callback)[:80], remedy="Pass a function")  # fmt: skip
    return current_network().observe(tell)


def get_methods_json() -> str:
    """Return all methods of a network with their parameters as a text of JSON."""
    return methods.methods_json(Network)


def list_methods() -> list[str]:
    """Return the names of all methods of a network."""
    return methods.list_methods(Network)


def has_method(name: str) -> bool:
    """Tell whether a network has a method."""
    return methods.has_method(Network, name)


def get_method_signature(name: str) -> str:
    """Return ``name(types) (returned type)``; ArgumentError for a method that there is not."""
    return methods.method_signature(Network, name)


def compute_correlation(data: Sequence[Sequence[float]], labels: Sequence[str] | None = None) -> dict[str, Any]:
    """Return Pearson's correlations of the features of samples; see ``loom.nn.measure.correlate``."""
    return correlate(data, labels).to_dict()


def compute_spearman_correlation(
    data: Sequence[Sequence[float]], labels: Sequence[str] | None = None
) -> dict[str, Any]:
    """Return Spearman's correlations of the features of samples."""
    return correlate(data, labels, "spearman").to_dict()


def _correlation(found: Any) -> Correlation:
    if isinstance(found, str):
        return Correlation.from_json(found)
    return Correlation.from_dict(dict(found) if is_mapping(found) else found)


def get_strong_correlations(correlation: Mapping[str, Any] | str, threshold: float = 0.7) -> list[dict[str, Any]]:
    """Return the pairs of features whose correlation is at least so far from 0, the strongest first."""
    return [pair.to_dict() for pair in _correlation(correlation).strong_pairs(threshold)]


def get_correlations_with(correlation: Mapping[str, Any] | str, feature: str | int) -> dict[str, float]:
    """Return all other features' correlations with one, the strongest first."""
    return _correlation(correlation).of(feature)


def kmeans_cluster(data: Sequence[Sequence[float]], k: int, max_iter: int = 100, seed: int = 0) -> dict[str, Any]:
    """Return ``{"centroids", "assignments"}`` of samples; see ``loom.nn.measure.kmeans``."""
    found = kmeans(data, k, iterations=max_iter, seed=seed)
    return {"centroids": found.centroids.tolist(), "assignments": found.assignments.tolist()}


def silhouette_score(data: Sequence[Sequence[float]], assignments: Sequence[int]) -> float:
    """Return the mean silhouette of samples in clusters."""
    return silhouette(data, assignments, single=1)
