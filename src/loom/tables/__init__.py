"""``loom.tables``: OctoDB: typed tables in one file that any tool opens, and columns on the device.

Layer: tables. Invariant: nothing is lost: what a call wrote is durable when it returns, what failed changed nothing,
what was deleted comes back.

Stability: new.
"""

from __future__ import annotations

from typing import Any

from loom.core.names import missing_name
from loom.core.tracebacks import brief_names
from loom.tables.columns.rows import Row
from loom.tables.database import Database
from loom.tables.query import Query
from loom.tables.table import Table

__all__ = ["Database", "Query", "Row", "Table"]


brief_names(globals(), __all__)


def __getattr__(name: str) -> Any:
    raise missing_name("loom.tables", name, __all__)
