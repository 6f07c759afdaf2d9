"""How good a network is: deviations, classes, curves, calibration, correlation, clusters, outliers, pictures.

Layer: nn. Invariant: what is computed on the host is computed in doubles, in one order; what is computed on a device is
recorded over ``loom.tensor``; so a measure has the same bits everywhere.

Stability: new.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from loom.core.names import missing_name

_WHERE = {
    "BUCKETS": "deviation", "DeviationMetrics": "deviation", "Prediction": "deviation",
    "deviation_metrics": "deviation",
    "Averages": "classes", "ClassReport": "classes", "accuracy": "classes", "classification_report": "classes",
    "confusion_matrix": "classes", "report_of": "classes",
    "PrecisionRecall": "ranking", "RocCurve": "ranking", "average_precision": "ranking",
    "precision_recall_curve": "ranking", "roc_auc": "ranking", "roc_curve": "ranking", "roc_curves": "ranking",
    "Calibration": "confidence", "calibration": "confidence",
    "Clusters": "clustering", "kmeans": "clustering", "nearest_centroid": "clustering", "silhouette": "clustering",
    "silhouette_samples": "clustering",
    "Correlation": "correlation", "FeaturePair": "correlation", "correlate": "correlation",
    "plot_buckets": "plots", "plot_calibration": "plots", "plot_confusion": "plots", "plot_correlation": "plots",
    "plot_losses": "plots", "plot_roc": "plots",
    "OutlierDetector": "outliers", "layer_features": "outliers",
}  # fmt: skip
__all__ = list(_WHERE)


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(f"loom.nn.measure.{_WHERE[name]}"), name)
    raise missing_name("loom.nn.measure", name, __all__)
