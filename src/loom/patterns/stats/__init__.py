"""``loom.stats``: means, spreads, quantiles, histograms and correlations, with the same bits everywhere.

Layer: patterns. Called, ``loom.stats()`` tells what is alive: units, bytes, runs under way (``loom.Stats``). Invariant:
a NaN among the numbers is a NaN in the result, never a wrong number.

Stability: stable.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from loom.core.names import missing_name
from loom.core.tracebacks import brief_names
from loom.patterns.stats.correlation import correlation, covariance
from loom.patterns.stats.histogram import histogram
from loom.patterns.stats.moments import mean, std, variance, zscore
from loom.patterns.stats.quantile import median, quantile
from loom.patterns.stats.ranks import iqr, median_abs_deviation, mode, rank, spearman, trim_mean
from loom.patterns.stats.scaling import autocorrelation, logsumexp, minmax
from loom.patterns.stats.shape import (
    Line,
    entropy,
    gmean,
    hmean,
    kurtosis,
    linregress,
    moment,
    sem,
    skew,
)
from loom.support.stats import Stats
from loom.support.stats import stats as _alive

__all__ = [
    "Line",
    "autocorrelation",
    "correlation",
    "covariance",
    "entropy",
    "gmean",
    "histogram",
    "hmean",
    "iqr",
    "kurtosis",
    "linregress",
    "logsumexp",
    "mean",
    "median",
    "median_abs_deviation",
    "minmax",
    "mode",
    "moment",
    "quantile",
    "rank",
    "sem",
    "skew",
    "spearman",
    "std",
    "trim_mean",
    "variance",
    "zscore",
]


class _Statistics(ModuleType):
    """The family, which is also the call the engine's documents name."""

    def __call__(self) -> Stats:
        """Return what is alive now (see ``loom.support.stats``)."""
        return _alive()


sys.modules[__name__].__class__ = _Statistics


brief_names(globals(), __all__)


def __getattr__(name: str) -> Any:
    raise missing_name("loom.stats", name, __all__)
