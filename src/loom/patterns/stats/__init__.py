"""``loom.stats``: means, spreads, quantiles, histograms and correlations, with the same bits everywhere.

Layer: patterns. Invariant: a NaN among the numbers is a NaN in the result, never a wrong number.
"""

from __future__ import annotations

from loom.patterns.stats.correlation import correlation, covariance
from loom.patterns.stats.histogram import histogram
from loom.patterns.stats.moments import mean, std, variance, zscore
from loom.patterns.stats.quantile import median, quantile

__all__ = ["correlation", "covariance", "histogram", "mean", "median", "quantile", "std", "variance", "zscore"]
