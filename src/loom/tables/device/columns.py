"""Columns on a device: filtered, aggregated and grouped there, by Loom's kernels.

Layer: tables. Texts are numbered in their order, so that kernels compare numbers. Invariant: a result has the bits that
it has for a table of just the rows it is of: sums of whole numbers are exact, those of floats in the canonical order
(docs/numerics.md, section 2) of the rows, on every device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from loom.core.errors import ArgumentError, DTypeError, near_matches
from loom.core.given import one_of, text
from loom.core.tracebacks import brief_class
from loom.patterns.data.group import Groups
from loom.patterns.data.select import filter as kept
from loom.patterns.data.texts import factorize
from loom.patterns.logical import gpu_count
from loom.patterns.reduce import gpu_max, gpu_mean, gpu_min, gpu_sum
from loom.runtime.port.device import Device
from loom.tables.columns.conditions import LEFT_OUT, OPERATORS
from loom.tables.columns.types import ColumnType
from loom.tables.device.folds import exact_sum, fold_groups
from loom.tables.device.masks import DeviceColumn, mask_of
from loom.tables.exchange.arrays import Array, array_of, fits_numpy
from loom.tensor.arrays.tensor import array

__all__ = ["AGGREGATES", "DeviceColumns", "move_columns", "operation"]

AGGREGATES = ("sum", "mean", "avg", "min", "max", "count")
"""What columns are folded by; avg is the mean."""


def move_columns(found: Mapping[str, tuple[ColumnType, Sequence[Any]]], ids: Sequence[int], on: Any) -> DeviceColumns:
    """Return columns, as SQLite gives their values, on a device."""
    made = {name: _to_device(values, kind, on, name) for name, (kind, values) in found.items()}
    return DeviceColumns(made, np.array(ids, np.int64), None, on)


def _to_device(values: Sequence[Any], kind: ColumnType, on: Any, name: str) -> DeviceColumn:
    where = f"tables.to_device, column {name!r}"
    there = None
    if not isinstance(values, np.ndarray) and None in values:
        there = array(np.array([v is not None for v in values], np.bool_), on=on)
        fill = {"float": 0.0, "int": 0, "bool": 0, "str": "", "bytes": b""}.get(kind.name, "1970-01-01")
        values = [fill if v is None else v for v in values]
    if kind.name in ("str", "bytes"):
        codes, names = _number(values, kind)
        return DeviceColumn(kind, array(codes, on=on), there, names)
    plain = array_of(values, kind, where)
    return DeviceColumn(kind, array(plain.view(np.int64) if plain.dtype.kind == "M" else plain, on=on), there, None)


def _number(values: Sequence[Any], kind: ColumnType) -> tuple[Any, Any]:
    """Return numbers for texts or bytes, and the different ones in their order, which is that of the numbers."""
    if kind.name == "str" and fits_numpy(values):
        return factorize(list(values)) if values else (np.empty(0, np.int64), np.empty(0, np.str_))
    different = sorted(set(values))
    numbers = {value: number for number, value in enumerate(different)}
    names = np.empty(len(different), object)
    names[:] = different
    return np.fromiter(map(numbers.__getitem__, values), np.int64, len(values)), names


@brief_class
class DeviceColumns:
    """Columns of a table on a device, as they were when they were moved: ``table.to_device("age", "city")``.

    ``columns[name]`` is an array of the device: of texts and bytes their numbers, in the order of the texts; of dates
    days, of datetimes microseconds since 1970.

    >>> from loom.tables import Database
    >>> people = Database().table("people", city=str, age=int)
    >>> _ = people.insert_many([("Oslo", 25), ("Rome", 36), ("Oslo", 61)])
    >>> columns = people.to_device("city", "age", on="cpu")
    >>> columns.where("age", ">", 30).aggregate("age", "mean")
    48.5
    >>> keys, means = columns.group_by("city", "age", "mean")
    >>> keys.tolist(), means.tolist()
    (['Oslo', 'Rome'], [43.0, 36.0])
    """

    def __init__(
        self, columns: Mapping[str, DeviceColumn], ids: np.ndarray[Any, Any], mask: Any, on: str | Device | None
    ) -> None:
        self._columns = dict(columns)
        self._ids = ids
        self._mask = mask
        self._on = on

    @property
    def columns(self) -> dict[str, str]:
        """The names of the columns, each with its type's name."""
        return {name: column.type.name for name, column in self._columns.items()}

    def __repr__(self) -> str:
        return f"<loom.tables columns of {len(self)} rows on a device: {', '.join(self._columns)}>"

    def __len__(self) -> int:
        return int(self._ids.size) if self._mask is None else int(gpu_count(self._mask))

    def __bool__(self) -> bool:
        return True

    def __getitem__(self, name: str) -> Any:
        return self._select(self._column(name, "tables.columns").data)

    def _column(self, name: Any, where: str) -> DeviceColumn:
        if text(name, where) not in self._columns:
            raise ArgumentError(where, f"no column {name!r} was moved", remedy=near_matches(name, list(self._columns)))
        return self._columns[name]

    def _select(self, data: Any, *further: Any) -> Any:
        """Return the elements of the rows that are asked for and at which further masks hold."""
        mask: Any = self._mask
        for each in further:
            mask = each if mask is None else mask if each is None else mask & each
        return data if mask is None else kept(data, mask)

    def ids(self) -> list[int]:
        """Return the numbers of the rows."""
        return (self._ids if self._mask is None else self._ids[self._mask.numpy()]).tolist()

    def count(self) -> int:
        """Return how many rows there are."""
        return len(self)

    def to_numpy(self, column: str) -> np.ndarray[Any, Any]:
        """Return a column from the device; missing values as a table's ``to_numpy`` gives them."""
        found = self._column(column, "tables.to_numpy")
        values = found.as_python(self._select(found.data).numpy())
        if found.there is None:
            return array_of(values.tolist(), found.type, "tables.to_numpy") if values.dtype == object else values
        return _with_missing(values, self._select(found.there).numpy(), found.type, "tables.to_numpy")

    def where(self, column: str, op: str, value: Any = LEFT_OUT) -> DeviceColumns:
        """Return the rows that fulfil a condition, as a table's ``where`` does, found on the device."""
        where = "tables.where"
        found = self._column(column, f"{where}, column")
        mask = mask_of(found, one_of(op, f"{where}, op", OPERATORS), value, self._on, where)
        return DeviceColumns(self._columns, self._ids, mask if self._mask is None else self._mask & mask, self._on)

    def aggregate(self, column: str, op: str) -> Any:
        """Return the sum, mean (avg), min, max or count of a column's values; missing ones are left out.

        Sums of whole numbers are exact, and so are their means, rounded once. Those of floats are added in the
        canonical order. No values give 0 as sum and count, else None.
        """
        found = self._column(column, "tables.aggregate, column")
        op = operation(op, found.type, "tables.aggregate")
        data = self._select(found.data, found.there)
        if op == "count":
            return int(data.size)
        if not data.size:
            return None if op != "sum" else 0.0 if found.type.name == "float" else 0
        if op in ("min", "max"):
            extreme = np.asarray((gpu_min if op == "min" else gpu_max)(data).numpy())
            return found.as_python(extreme.reshape(1)).tolist()[0]
        if found.type.name == "float":
            return float((gpu_sum if op == "sum" else gpu_mean)(data).item())
        total = exact_sum(data)
        return total if op == "sum" else total / int(data.size)

    def group_by(self, key: str, column: str | None = None, op: str = "count") -> Groups:
        """Return the sum, mean (avg), min, max or count of a column for each different value of another, ascending.

        ``keys`` and ``values`` are numpy arrays. Rows without a key are left out, as are missing values; a key all of
        whose values are missing has 0 as sum and count, else a missing value, as ``to_numpy`` gives them. ``count``
        needs no column. Sums as ``aggregate`` makes them; whole ones that int64 lacks are Python's ints.
        """
        where = "tables.group_by"
        by = self._column(key, f"{where}, key")
        found = by if column is None else self._column(column, f"{where}, column")
        op = operation(op, found.type, where)
        if column is None and op != "count":
            raise ArgumentError(where, f"no column to take the {op} of", remedy="Name one, or use count")
        masks = by.there, None if found is by else found.there
        keys, values = fold_groups(self._select(by.data, *masks), self._select(found.data, *masks), op)
        if op in ("min", "max"):
            values = found.as_python(values)
        if masks[1] is not None:
            among = self._select(by.data, by.there)
            every, _ = fold_groups(among, among, "count")
            if every.size > keys.size:
                keys, values = every, _without_values(np.isin(every, keys), values, op, found.type, where)
        return Groups(by.as_python(keys), values)


def _without_values(there: Array, values: Array, op: str, kind: ColumnType, where: str) -> Array:
    """Return the folds of all groups, of which ``there`` tells which have the values."""
    full = np.zeros(there.size, values.dtype)
    full[there] = values
    return full if op in ("sum", "count") else _with_missing(full, there, kind, where)


def _with_missing(values: Array, there: Array, kind: ColumnType, where: str) -> Array:
    """Return values, of which some are there, with what stands for a missing one in an array of their type."""
    if values.dtype.kind in "fM":
        return np.where(there, values, np.array(np.nan if values.dtype.kind == "f" else "NaT", values.dtype))
    listed = [v if is_there else None for v, is_there in zip(values.tolist(), there.tolist(), strict=True)]
    return array_of(listed, kind, where)


def operation(op: Any, kind: ColumnType, where: str) -> str:
    """Return the name of a fold that a column of this type has."""
    found = one_of(op, f"{where}, op", AGGREGATES)
    if found in ("sum", "mean", "avg") and kind.name not in ("int", "float", "bool"):
        raise DTypeError(f"{where}, op", f"a column of {kind.name} has no {found}", expected="numbers or bools",
                         got=kind.name, remedy="Ask for count, min or max")  # fmt: skip
    return "mean" if found == "avg" else found
