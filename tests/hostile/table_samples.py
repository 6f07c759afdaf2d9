"""Tables to call, and usable arguments of their methods, by method and parameter."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from loom.tables import Database

Make = Callable[[], Any]


def _database() -> Any:
    db = Database()
    db.table("t", name=str, age=int, real=float).insert_many([("Ada", 36, 1.5), ("Bob", None, None), ("Cyd", 7, 2.5)])
    db.table("u", name=str).insert(name="Ada")
    db.table("t").delete(2)
    return db


def _table() -> Any:
    return _database().table("t")


def _file(name: str) -> str:
    return os.path.join(os.environ.get("HOSTILE_FOLDER") or tempfile.gettempdir(), name)


def _csv() -> Any:
    path = Path(_file("given.csv"))
    path.write_text("name,age\nEve,1\n")
    return path


def _odb() -> Any:
    path = _file("given.odb")
    _database().save(path)
    return path


TABLES: dict[str, Make] = {
    "Database": _database,
    "Table": _table,
    "Query": lambda: _table().where("age", ">", 1),
    "DeviceColumns": lambda: _table().to_device("name", "age", "real", on="cpu"),
    "SqlResult": lambda: _database().sql("SELECT name, age FROM t"),
}
"""Class -> an object of it."""

_READS: dict[str, dict[str, Make]] = {
    "where": {"column": lambda: "age", "op": lambda: ">", "value": lambda: 3},
    "select": {"columns": lambda: ("name",), "conditions": lambda: "Ada"},
    "order_by": {"columns": lambda: ("age",)},
    "limit": {"count": lambda: 2, "offset": lambda: 1},
    "distinct": {"column": lambda: "name"},
    "aggregate": {"column": lambda: "age", "op": lambda: "mean"},
    "group_by": {"key": lambda: "name", "column": lambda: "age", "op": lambda: "sum"},
    "to_device": {"columns": lambda: ("age", "real"), "on": lambda: "cpu"},
    "to_numpy": {"columns": lambda: ("real",), "column": lambda: "name", "missing": lambda: None},
    "to_arrow": {"columns": lambda: ("real",)},
    "export_csv": {"target": lambda: _file("out.csv"), "columns": lambda: ("real",)},
    "join": {"other": _table, "on": lambda: "name", "how": lambda: "inner"},
}
_OPTIONS: dict[str, Make] = {"read_only": lambda: False, "verify": lambda: False}
TABLE_SAMPLES: dict[str, dict[str, Make]] = {
    **{f"{owner}.{name}": given for owner in ("Table", "Query", "DeviceColumns") for name, given in _READS.items()},
    "loom.tables.Database": {"path": lambda: _file("made.odb"), "timeout": lambda: 0.1, **_OPTIONS},
    "Database.table": {"name": lambda: "fresh", "columns": lambda: None, "types": lambda: int},
    "Database.import_csv": {"source": _csv, "name": lambda: "fresh", "types": lambda: {"age": float}},
    "Database.sql": {"statement": lambda: "SELECT * FROM t WHERE age > ?", "params": lambda: [1]},
    "Database.drop": {"name": lambda: "u"},
    "Database.save": {"path": lambda: _file("saved.odb"), "tables": lambda: ("t",)},
    "Database.load": {"path": _odb, "tables": lambda: ("u",)},
    "Table.get": {"number": lambda: 1},
    "Table.insert": {"row": lambda: {"name": "Eve"}, "values": lambda: 1},
    "Table.insert_many": {"rows": lambda: [("Eve", 1, 1.0)]},
    "Table.update": {"rows": lambda: 1, "values": lambda: 1},
    "Table.delete": {"rows": lambda: [1]},
    "Table.undelete": {"rows": lambda: [2]},
    "Table.import_csv": {"source": _csv},
    "Table.add_column": {"name": lambda: "more", "type": lambda: str, "default": lambda: "x"},
    "Table.rename_column": {"old": lambda: "age", "new": lambda: "years"},
    "Table.drop_column": {"name": lambda: "age"},
    "Table.change_type": {"name": lambda: "age", "type": lambda: float},
    "DeviceColumns.__getitem__": {"name": lambda: "age"},
}
