"""Usable arguments of the older names of vector stores and tables, and of files beside chains."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np

from loom import flow

from .vector_samples import store

Make = Callable[[], Any]


def _file(name: str) -> str:
    return os.path.join(os.environ.get("HOSTILE_FOLDER") or tempfile.gettempdir(), name)


def _numbers() -> str:
    np.arange(6, dtype=np.float32).tofile(path := _file(f"numbers{os.urandom(4).hex()}.bin"))
    return path


def _stores() -> tuple[Any, Any]:
    """Return a database of two dimensions with its vectors, one of which is there and was searched for."""
    ldb, vecs = flow.loomdb_create(2.0, 8.0), flow.loomdb_create_vectors()
    flow.loomdb_capture(ldb, vecs, "a", [1.0, 0.0])
    flow.loomdb_search(ldb, vecs, [1.0, 0.0], 1.0)
    return ldb, vecs


class _Pair:
    """The two halves of one store, of which a call takes both."""

    def __init__(self) -> None:
        self.vecs: list[Any] = []

    def ldb(self) -> Any:
        ldb, vecs = _stores()
        self.vecs.append(vecs)
        return ldb

    def other(self) -> Any:
        return self.vecs.pop() if self.vecs else _stores()[1]


_PAIR = _Pair()


def _saved() -> str:
    ldb, vecs = _stores()
    flow.loomdb_flush(ldb, vecs, path := _file("older.ldb"), replace=True)
    return path


def _table() -> Any:
    table = flow.db_table(flow.db_create(), "t", ["n", "v"])
    flow.db_insert(table, {"n": "a", "v": 1.0})
    return table


def _odb() -> str:
    path = _file("older.odb")
    if os.path.exists(path):
        os.remove(path)
    flow.db_save(_table(), path)
    return path


def _csv() -> str:
    with open(path := _file("older.csv"), "w") as file:
        file.write("n,v\nb,2\n")
    return path


_BOTH: dict[str, Make] = {"ldb": _PAIR.ldb, "vecs": _PAIR.other}
_QUERY: dict[str, Make] = {**_BOTH, "q": lambda: [1.0, 0.0], "k": lambda: 1.0}
_OF_TABLE: dict[str, Make] = {
    "table": _table, "col": lambda: "v", "idx": lambda: 0.0, "n": lambda: 1.0, "row": lambda: {"n": "c", "v": 3.0},
    "cols": lambda: ["v"], "ops": lambda: [">"], "vals": lambda: [0.0], "val": lambda: 0.0,
}  # fmt: skip
_TABLE_NAMES = (
    "db_count", "db_delete", "db_distinct", "db_insert", "db_select", "db_select_column", "db_select_row", "db_update",
)  # fmt: skip

FLOW_SAMPLES: dict[str, dict[str, Make]] = {
    f"loom.flow.{name}": samples
    for name, samples in {
        "gpu_map": {"op": lambda: "sqrt"},
        "loom_async_read": {"path": _numbers},
        "loom_await": {"handle": lambda: flow.loom_async_read(_numbers())},
        "loom_stream": {"path": _numbers, "len": lambda: 2.0},
        "loomdb_create": {"dims": lambda: 2.0, "cap": lambda: 8.0},
        "loomdb_capture": {**_BOTH, "id": lambda: "b", "emb": lambda: [0.0, 1.0]},
        "loomdb_flush": {**_BOTH, "path": lambda: _file(f"new{os.urandom(4).hex()}.ldb")},
        "loomdb_search": _QUERY,
        "loomdb_gpu_search": _QUERY,
        "loomdb_normalize": _BOTH,
        "loomdb_needs_flush": _BOTH,
        "loomdb_result_count": _BOTH,
        **{f"loomdb_result_{what}": {**_BOTH, "i": lambda: 0.0} for what in ("id", "meta", "score")},
        "loomdb_restore_meta": {"path": _saved},
        "loomdb_restore_vectors": {"path": _saved},
        **dict.fromkeys(_TABLE_NAMES, _OF_TABLE),
        "db_where": {**_OF_TABLE, "op": lambda: ">"},
        "db_aggregate": {**_OF_TABLE, "op": lambda: "sum"},
        "db_import_csv": {**_OF_TABLE, "path": _csv},
        "db_load": {"path": _odb},
        "db_load_all": {"path": _odb},
        "db_save": {**_OF_TABLE, "path": lambda: _file(f"new{os.urandom(4).hex()}.odb")},
        "db_save_all_start": {"path": lambda: _file(f"new{os.urandom(4).hex()}.odb")},
        "db_save_all_add": {
            **_OF_TABLE, "saving": lambda: flow.db_save_all_start(_file(f"new{os.urandom(4).hex()}.odb")),
        },
        "db_table": {"db": flow.db_create, "name": lambda: "t", "columns": lambda: ["n"]},
    }.items()
}  # fmt: skip
FLOW_SAMPLES["Support.flush"] = {"store": store, "path": lambda: _file(f"new{os.urandom(4).hex()}.ldb")}
"""Function -> parameter -> a usable value."""
