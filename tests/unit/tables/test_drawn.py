"""Drawn sequences of all that a table does, against a model of plain lists: what it holds, shows, folds and exports.

The model knows nothing of SQL: rows are dictionaries, conditions Python's operators, order Python's sort.
"""

from __future__ import annotations

import datetime
import itertools
import math
import operator
import random
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loom.core.errors import DTypeError, LoomError
from loom.tables import Database

Day, Moment = datetime.date, datetime.datetime
POOLS: dict[str, list[Any]] = {
    "int": [0, 1, -1, 2, 7, 1 << 53, (1 << 53) + 1, (1 << 63) - 1, -(1 << 63)],
    "float": [0.0, 1.0, -1.5, 0.1, 1e300, -1e300, 5e-324, math.inf, -math.inf, 2.0**53, 2.0**63, 3],
    "str": ["", "a", "A", "ab", "é", "e\u0301", "ÿ", "😀", "a'b", 'a"b', "a,b", "a\nb", "x\r\ny", " ", "NA", "%_", "01",
            "a\0b", "a\0", "\ufeff", "true", "1.5", "nan", "Robert'); DROP TABLE t;--"],
    "bool": [True, False],
    "bytes": [b"", b"a", b"\0", b"\xff\0", b"ab"],
    "date": [Day.min, Day(1969, 12, 31), Day(1970, 1, 1), Day(2020, 2, 29), Day.max],
    "datetime": [Moment.min, Moment(1969, 12, 31, 23, 59, 59, 999_999), Moment(2020, 2, 29, 12), Moment.max],
}  # fmt: skip
NAMES = ["a", "b", "first name", "select", 'q"uote', "é", "x;--", "-m", "count", "ID", "*", "values", "self"]
COMPARED: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq, "!=": operator.ne, ">": operator.gt, "<": operator.lt, ">=": operator.ge, "<=": operator.le,
}  # fmt: skip


class Drawn:
    """A table and the model of it, moved by the same drawn steps."""

    def __init__(self, seed: int, path: Path | None, folder: Path, devices: list[str]) -> None:
        self.rng, self.folder, self.devices, self.log = random.Random(seed), folder, devices, list[str]()
        self.path = path
        self.db = Database(path)
        names = self.rng.sample(NAMES, self.rng.randint(1, 5))
        self.kinds = {name: self.rng.choice(list(POOLS)) for name in names}
        self.name = self.rng.choice(["t", "my table", "select", 'a"b', "ÿ"])
        self.table = self.db.table(self.name, self.kinds)
        self.rows: dict[int, dict[str, Any]] = {}
        self.deleted: dict[int, dict[str, Any]] = {}
        self.given = 0
        self.made = itertools.count()

    # what is drawn

    def value(self, kind: str, missing: float = 0.2) -> Any:
        if self.rng.random() < missing:
            return self.rng.choice([None, math.nan]) if kind == "float" else None
        return self.rng.choice(POOLS[kind])

    def row(self) -> dict[str, Any]:
        return {name: self.value(kind) for name, kind in self.kinds.items() if self.rng.random() < 0.9}

    def kept(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return a row as a table keeps it."""
        made = {name: row.get(name) for name in self.kinds}
        for name, kind in self.kinds.items():
            if kind == "float" and made[name] is not None:
                made[name] = None if math.isnan(made[name]) else float(made[name])
        return made

    def some(self, rows: dict[int, Any]) -> list[int]:
        return self.rng.sample(sorted(rows), self.rng.randint(0, min(3, len(rows))))

    def add(self, rows: list[dict[str, Any]], numbers: list[int]) -> None:
        expected = list(range(self.given + 1, self.given + 1 + len(rows)))
        assert numbers == expected
        self.given += len(rows)
        self.rows.update(zip(numbers, map(self.kept, rows), strict=True))

    # steps that write

    def step_insert(self) -> None:
        row = self.row()
        self.add([row], [self.table.insert(row)])

    def step_insert_many(self) -> None:
        rows = [self.row() for _ in range(self.rng.choice([0, 1, 2, 5, 300 if len(self.rows) < 300 else 1]))]
        way = self.rng.choice(["rows", "tuples", "columns", "arrow", "iterator"])
        full = [{name: row.get(name) for name in self.kinds} for row in rows]
        given: Any = rows
        if way == "tuples":
            given = [tuple(row.values()) for row in full]
        elif way == "columns":
            given = {name: [row[name] for row in full] for name in self.kinds}
        elif way == "iterator":
            given = iter(rows)
        elif way == "arrow":
            aside = Database().table("aside", self.kinds)
            aside.insert_many(rows)
            given = aside
        self.add(rows, self.table.insert_many(given))

    def step_refused(self) -> None:
        name, kind = self.rng.choice(list(self.kinds.items()))
        wrong = {"int": [1.5, "1", True, 1 << 63], "float": ["1", True, (1 << 53) + 1], "str": [1, b"a", "\ud800"],
                 "bool": [1, "true"], "bytes": ["a", 1], "date": ["2020-01-01", Moment(2020, 1, 1)],
                 "datetime": [Day(2020, 1, 1), Moment(2020, 1, 1, tzinfo=datetime.timezone.utc)]}  # fmt: skip
        bad = {name: self.rng.choice(wrong[kind])}
        number = next(iter(self.rows), 1)
        for act in (lambda: self.table.insert(bad), lambda: self.table.insert_many([self.row(), bad]),
                    lambda: self.table.update(number, bad), lambda: self.table.where(name, "==", bad[name]).rows(),
                    lambda: self.table.delete([number, self.given + 9]), lambda: self.table.undelete(self.given + 9),
                    lambda: self.table.insert({"nothing": 1})):  # fmt: skip
            try:
                act()
            except LoomError:
                continue
            assert isinstance(bad[name], (int, float))  # a number is compared with other numbers
            assert act.__code__.co_names[:2] == ("table", "where")

    def step_update(self) -> None:
        numbers, row = self.some(self.rows), self.row()
        if row:
            given = self.rng.choice(
                [numbers, [self.table.get(n) for n in numbers], self.table.where("_id", "in", numbers)]
            )
            assert self.table.update(given, row) == len(numbers)
            for number in numbers:
                self.rows[number].update({name: self.kept(row)[name] for name in row})

    def step_delete(self) -> None:
        numbers = self.some(self.rows)
        assert self.table.delete(self.rng.choice([numbers, [self.table.get(n) for n in numbers]])) == len(numbers)
        self.deleted.update({number: self.rows.pop(number) for number in numbers})

    def step_undelete(self) -> None:
        numbers = self.some(self.deleted)
        assert self.table.undelete(numbers) == len(numbers)
        self.rows.update({number: self.deleted.pop(number) for number in numbers})

    def step_transaction(self) -> None:
        before = {n: dict(r) for n, r in self.rows.items()}, {n: dict(r) for n, r in self.deleted.items()}, self.given
        keep = self.rng.random() < 0.5
        try:
            with self.db.transaction():
                for _ in range(self.rng.randint(1, 4)):
                    self.write()
                self.check()
                if not keep:
                    raise KeyError
        except KeyError:
            self.rows, self.deleted, self.given = before

    # steps that alter columns

    def step_add_column(self) -> None:
        free = [n for n in NAMES if n.lower() not in {k.lower() for k in self.kinds}]
        if len(self.kinds) < 6 and free:
            name, kind = self.rng.choice(free), self.rng.choice(list(POOLS))
            default = self.value(kind)
            self.table.add_column(name, kind, default)
            self.kinds[name] = kind
            for row in (*self.rows.values(), *self.deleted.values()):
                row[name] = self.kept({name: default})[name]

    def step_rename_column(self) -> None:
        free = [n for n in NAMES if n.lower() not in {k.lower() for k in self.kinds}]
        old, new = self.rng.choice(list(self.kinds)), self.rng.choice(free)
        self.table.rename_column(old, new)
        turned = {name: new if name == old else name for name in self.kinds}
        self.kinds = {turned[name]: kind for name, kind in self.kinds.items()}
        for rows in (self.rows, self.deleted):
            for number, row in rows.items():
                rows[number] = {turned[name]: value for name, value in row.items()}

    def step_drop_column(self) -> None:
        if len(self.kinds) > 1:
            name = self.rng.choice(list(self.kinds))
            self.table.drop_column(name)
            for row in (self.kinds, *self.rows.values(), *self.deleted.values()):
                del row[name]

    def step_change_type(self) -> None:
        ways: dict[tuple[str, str], Callable[[Any], Any]] = {
            ("int", "str"): str, ("bool", "int"): int, ("bool", "float"): float, ("str", "bytes"): str.encode,
            ("date", "datetime"): lambda v: Moment(v.year, v.month, v.day), ("float", "str"): repr,
            ("date", "str"): str, ("datetime", "str"): lambda v: v.isoformat(), ("bytes", "str"): bytes.decode,
            ("int", "float"): lambda v: float(v) if int(float(v)) == v else int("x"),
            ("float", "int"): lambda v: int(v) if v == int(v) and -(2**63) <= v < 2**63 else int("x"),
        }  # fmt: skip
        name, old = self.rng.choice(list(self.kinds.items()))
        for (a, b), convert in self.rng.sample(list(ways.items()), len(ways)):
            if a != old:
                continue
            every = [*self.rows.values(), *self.deleted.values()]
            try:
                made = [None if row[name] is None else convert(row[name]) for row in every]
            except (ValueError, OverflowError):
                with pytest.raises(LoomError, match="Nothing was changed"):
                    self.table.change_type(name, b)
                continue
            self.table.change_type(name, b)
            self.kinds[name] = b
            for row, value in zip(every, made, strict=True):
                row[name] = value
            return

    # steps that take it elsewhere and back

    def step_reopen(self) -> None:
        copy = self.folder / f"copy{next(self.made)}.odb"
        if self.path is not None:
            self.db.close()
            self.db = Database(self.path)
        else:
            self.db.save(copy, *self.rng.choice([(), (self.name,)]))
            self.db = Database()
            assert self.db.load(copy, *self.rng.choice([(), (self.name,)])) == [self.name]
        self.table = self.db.table(self.name, self.kinds)
        self.check()

    def step_csv(self) -> None:
        path, mark = self.folder / "t.csv", self.rng.choice([",", ";", "\t", "|"])
        query = self.drawn_query()[0]
        header = self.rng.random() < 0.7
        code = self.rng.choice([None, None, "utf-16", "utf-8"])
        count = query.export_csv(path, separator=mark, header=header, encoding=code)
        aside = Database().table("aside", self.kinds)
        assert aside.import_csv(path, separator=mark, header=header, encoding=code) == count
        expected = [{n: None if v in ("", b"") or (self.kinds[n] not in ("str",) and v in ("NA", b"")) else v
                     for n, v in row.items()} for row in query.rows()]  # fmt: skip
        assert [dict(row) for row in aside] == expected

    def step_elsewhere(self) -> None:
        polars = pytest.importorskip("polars")
        query, rows = self.drawn_query()
        expected = [tuple(self.rows[n].values()) for n in rows]
        assert polars.DataFrame(query).rows() == expected
        for name, kind in self.kinds.items():
            column = [self.rows[n][name] for n in rows]
            if kind == "int" and None in column and any(v is not None and abs(v) > 1 << 53 for v in column):
                continue
            found = query.to_numpy(name)
            if kind in ("date", "datetime"):
                listed = [None if np.isnat(v) else v.item() for v in found]
            else:
                listed = [None if isinstance(v, float) and math.isnan(v) else v for v in found.tolist()]
            assert listed == column

    # what is read

    def condition(self) -> tuple[str, str, Any, Callable[[Any], bool]]:
        name, kind = self.rng.choice([*self.kinds.items(), ("_id", "int")])
        if name == "_id":
            pool: list[Any] = [0, 1, self.given, 1 << 63, -5, 1.5]
        else:
            pool = POOLS[kind] + ([0.5, -math.inf, 1 << 70, 9.2e18] if kind == "int" else [])
        op = self.rng.choice(
            [*COMPARED, "in", "not-in", "between", "is-null", "not-null", "contains", "== None", "!= None"]
        )
        if op == "contains":
            if kind not in ("str", "bytes"):
                op = ">="
            else:
                part = self.rng.choice(pool)
                return name, op, part, lambda v: v is not None and part in v
        if op in ("is-null", "not-null"):
            return name, op, None, lambda v: (v is None) == (op == "is-null")
        if op.endswith("None"):
            return name, op[:2], None, lambda v: (v is None) == (op == "== None")
        if op == "between":
            least, most = self.rng.choice(pool), self.rng.choice(pool)
            return name, op, (least, most), lambda v: v is not None and least <= v <= most
        if op in ("in", "not-in"):
            values = [self.rng.choice([*pool, None]) for _ in range(self.rng.randint(0, 4))]
            if op == "in":
                return name, op, values, lambda v: v in values
            return name, op, values, lambda v: not values or (v is not None and v not in values)
        value = self.rng.choice(pool)
        return name, op, value, lambda v: v is not None and bool(COMPARED[op](v, value))

    def drawn_query(self) -> tuple[Any, list[int]]:
        """Return a query, and the numbers of the rows that it gives."""
        query: Any = self.table
        numbers = sorted(self.rows)
        for _ in range(self.rng.randint(0, 2)):
            name, op, value, true = self.condition()
            self.log.append(f"  where {name!r} {op} {value!r}")
            query = query.where(name, op, value) if name == "_id" or self.rng.random() < 0.5 else query.select(
                **{name: (op, value)})  # fmt: skip
            numbers = [n for n in numbers if true(n if name == "_id" else self.rows[n][name])]
        if self.rng.random() < 0.6:
            chosen = [self.rng.choice(list(self.kinds)) for _ in range(self.rng.randint(1, 2))]
            down = [self.rng.random() < 0.5 for _ in chosen]
            turned = self.rng.random() < 0.3
            query = query.order_by(
                *(("-" if d else "") + n for n, d in zip(chosen, down, strict=True)), descending=turned
            )
            self.log.append(f"  order_by {chosen} {down} {turned}")
            for name, d in reversed(list(zip(chosen, down, strict=True))):
                filled = [n for n in numbers if self.rows[n][name] is not None]
                empty = [n for n in numbers if self.rows[n][name] is None]
                is_down = d != turned
                filled.sort(key=lambda n, name=name: self.rows[n][name], reverse=is_down)
                if is_down:  # sort(reverse=True) keeps ties in their order, as the table does
                    numbers = [*filled, *empty]
                else:
                    numbers = [*empty, *filled]
        if self.rng.random() < 0.4:
            count, offset = self.rng.choice([0, 1, 3, 10, 1 << 70]), self.rng.choice([0, 0, 2])
            self.log.append(f"  limit {count} {offset}")
            query = query.limit(count, offset)
            numbers = numbers[offset : offset + count]
        return query, numbers

    def step_query(self) -> None:
        query, numbers = self.drawn_query()
        assert query.ids() == numbers
        assert query.count() == len(numbers)
        found = query.rows()
        assert repr([dict(row) for row in found]) == repr([self.rows[n] for n in numbers])
        assert [row.id for row in found] == numbers
        name = self.rng.choice(list(self.kinds))
        column = [self.rows[n][name] for n in numbers]
        present = sorted({v for v in column if v is not None})
        assert query.distinct(name) == ([None] if None in column else []) + present

    def step_fold(self) -> None:
        query, numbers = self.drawn_query()
        name, kind = self.rng.choice(list(self.kinds.items()))
        key = self.rng.choice(list(self.kinds))
        moved = None
        wanted = list(self.kinds)
        if self.devices:
            moved = query.to_device(*wanted, on=self.rng.choice(self.devices))
        for op in ("count", "min", "max", "sum", "mean"):
            if op in ("sum", "mean") and kind not in ("int", "float", "bool"):
                continue
            values = [self.rows[n][name] for n in numbers if self.rows[n][name] is not None]
            found = query.aggregate(name, op)
            self.compare(found, self.fold(values, op), kind, op, values)
            if moved is not None:
                assert repr(moved.aggregate(name, op)) == repr(found)
            if kind == "bytes" and op not in ("count", "min", "max"):
                continue
            groups: dict[Any, list[Any]] = {}
            for n in numbers:
                if self.rows[n][key] is not None:
                    here = groups.setdefault(self.rows[n][key], [])
                    here.extend([] if self.rows[n][name] is None else [self.rows[n][name]])
            as_floats = kind == "int" and op in ("min", "max") and not all(groups.values())  # NaN stands in one
            if as_floats and any(abs(self.fold(each, op)) > 1 << 53 for each in groups.values() if each):
                with pytest.raises(DTypeError, match="float64 lacks one of them"):
                    query.group_by(key, name, op)
                continue
            keys, folded = query.group_by(key, name, op)
            assert keys.tolist() == sorted(groups)
            for k, value in zip(keys.tolist(), folded.tolist(), strict=True):
                if not groups[k] and op not in ("sum", "count"):
                    assert value is None or math.isnan(value), "a missing value"
                else:
                    self.compare(int(value) if as_floats else value, self.fold(groups[k], op), kind, op, groups[k])
            if moved is not None:
                again = moved.group_by(key, name, op)
                for a, b in ((again.keys, keys), (again.values, folded)):
                    assert a.dtype == b.dtype
                    assert a.tolist() == b.tolist() if a.dtype == object else a.tobytes() == b.tobytes()

    def fold(self, values: list[Any], op: str) -> Any:
        if op == "count":
            return len(values)
        if not values:
            return 0 if op == "sum" else None
        if op in ("min", "max"):
            return min(values) if op == "min" else max(values)
        if isinstance(values[0], float):
            return None
        return sum(values) if op == "sum" else sum(values) / len(values)

    def compare(self, found: Any, expected: Any, kind: str, op: str, values: list[Any]) -> None:
        if kind == "float" and op in ("sum", "mean") and values:
            if math.inf in values and -math.inf in values:
                assert math.isnan(found)
            elif math.inf in values or -math.inf in values:
                assert found == (math.inf if math.inf in values else -math.inf)
            else:
                whole = sum(map(Fraction, values)) / (1 if op == "sum" else len(values))
                error = abs(Fraction(found) - whole)
                assert error <= Fraction(max(map(abs, values))) * len(values) / (1 << 50) + Fraction(5e-324)
            return
        assert found == expected
        assert expected is None or isinstance(found, type(expected)) or kind == "float"

    def step_device(self) -> None:
        name, op, value, true = self.condition()
        if not self.devices or name == "_id":
            return
        columns = self.table.to_device(name, on=self.rng.choice(self.devices)).where(name, op, value)
        self.log.append(f"  where {name!r} {op} {value!r}")
        assert columns.ids() == [n for n in sorted(self.rows) if true(self.rows[n][name])]
        again = columns.where(name, "not-null")
        assert again.count() == sum(self.rows[n][name] is not None for n in columns.ids())

    def step_join(self) -> None:
        key, kind = self.rng.choice(list(self.kinds.items()))
        title = f"other{next(self.made)}"
        other = self.db.table(title, {key: kind, "w": "int"})
        theirs = [(self.value(kind), k) for k in range(self.rng.randint(0, 4))]
        other.insert_many(theirs)
        how = self.rng.choice(["inner", "left"])
        query, numbers = self.drawn_query() if self.rng.random() < 0.3 else (self.table, sorted(self.rows))
        if (
            not (hasattr(query, "is_cut") and query.is_cut)
            and "w" not in self.kinds
            and not getattr(query, "order", ())
        ):
            shown: list[tuple[int, Any]] = []
            for n in numbers:
                mine = self.rows[n][key]
                met = [w for v, w in theirs if mine is not None and v == mine]
                shown += [(n, w) for w in met] or ([(n, None)] if how == "left" else [])
            found = query.join(other.where("w", ">=", 0), on=key, how=how)
            assert [(row.id, row["w"]) for row in found] == shown
            assert found.where("w", "not-null").count() == sum(w is not None for _, w in shown)
        self.db.drop(title)

    # all of it

    def write(self) -> None:
        names = ("insert", "insert_many", "update", "delete", "undelete", "refused")
        self.act(self.rng.choice(names))

    def act(self, name: str) -> None:
        self.log.append(name)
        getattr(self, f"step_{name}")()

    def check(self) -> None:
        assert self.table.columns == self.kinds
        assert {row.id: dict(row) for row in self.table} == self.rows
        assert {row.id: dict(row) for row in self.table.deleted()} == self.deleted
        assert self.db.sql(f'SELECT count(*) AS n FROM "{self.name.replace(chr(34), chr(34) * 2)}"').rows() == [
            {"n": len(self.rows)}
        ]


STEPS = ("insert", "insert_many", "insert_many", "update", "delete", "undelete", "refused", "transaction", "add_column",
         "rename_column", "drop_column", "change_type", "reopen", "csv", "elsewhere", "query", "query", "fold",
         "device", "join")  # fmt: skip


def run(seed: int, folder: Path, steps: int, devices: list[str]) -> None:
    drawn = Drawn(seed, folder / f"d{seed}.odb" if seed % 2 else None, folder, devices)
    try:
        for _ in range(steps):
            drawn.act(drawn.rng.choice(STEPS))
        drawn.check()
    except BaseException as error:
        error.add_note(f"seed {seed}, columns {drawn.kinds}, rows {len(drawn.rows)}: {drawn.log[-12:]}")
        raise
    finally:
        drawn.db.close()


@pytest.mark.parametrize("seed", range(5))
def test_drawn_sequences(tmp_path: Path, seed: int) -> None:
    run(seed, tmp_path, 25, ["cpu"])


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(10))
def test_many_drawn_sequences(tmp_path: Path, part: int) -> None:
    for seed in range(1000 * part, 1000 * part + 40):
        run(seed, tmp_path, 50, ["cpu", "interp"])
