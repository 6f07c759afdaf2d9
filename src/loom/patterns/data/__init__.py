"""``loom.data``: filter, gather, group, roll and join arrays, with the same bits everywhere.

Layer: patterns. Invariant: the order of every result is stated, and the same for every schedule.

Stability: stable.
"""

from __future__ import annotations

from typing import Any

from loom.core.names import missing_name
from loom.core.tracebacks import brief_names
from loom.patterns.data.changes import Bands, bollinger, diff, log_returns, momentum, percent_change
from loom.patterns.data.csv import read_csv
from loom.patterns.data.describe import Description, describe
from loom.patterns.data.finance import (
    Macd,
    Option,
    atr,
    black_scholes,
    drawdown,
    macd,
    rsi,
    sharpe,
    volatility,
    vwap,
)
from loom.patterns.data.group import GroupBy, Groups, group_by
from loom.patterns.data.join import Pairs, join
from loom.patterns.data.move import gather, scatter
from loom.patterns.data.rolling import Rolling, rolling
from loom.patterns.data.select import compact, filter  # noqa: A004
from loom.patterns.data.series import Bars, bars, cut, fill_forward, interpolate, is_in, shift, value_counts
from loom.patterns.data.texts import Codes, factorize

__all__ = [
    "Bands",
    "Bars",
    "Codes",
    "Description",
    "GroupBy",
    "Groups",
    "Macd",
    "Option",
    "Pairs",
    "Rolling",
    "atr",
    "bars",
    "black_scholes",
    "bollinger",
    "compact",
    "cut",
    "describe",
    "diff",
    "drawdown",
    "factorize",
    "fill_forward",
    "filter",
    "gather",
    "group_by",
    "interpolate",
    "is_in",
    "join",
    "log_returns",
    "macd",
    "momentum",
    "percent_change",
    "read_csv",
    "rolling",
    "rsi",
    "scatter",
    "sharpe",
    "shift",
    "value_counts",
    "volatility",
    "vwap",
]


brief_names(globals(), __all__)


def __getattr__(name: str) -> Any:
    raise missing_name("loom.data", name, __all__)
