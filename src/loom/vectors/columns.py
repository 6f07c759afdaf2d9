"""What is told of vectors, as columns: which rows a filter keeps, without a look at every row.

Layer: vectors. A column numbers its different values, so that a condition is asked once for each of them. Invariant: a
row that lacks a name, or is told nothing, has None there.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, cast

import numpy as np

from loom.core.arrays import Array
from loom.core.errors import ArgumentError, DTypeError, near_matches
from loom.core.given import is_array, is_mapping, is_scalar, one_of
from loom.vectors.given import Meta

__all__ = ["OPERATORS", "Condition", "MetaColumns", "read_where"]

Test = Callable[[Any], bool]


class Condition(NamedTuple):
    """What is asked of a name: ``test`` of its values, as ``place`` of a call says.

    ``kinds``: for each value that it is asked with, of which kinds a value must be that it can hold for.
    """

    name: str
    test: Test
    place: str
    kinds: Sequence[frozenset[str]]
    sign: str


_KINDS: dict[type, str] = {
    str: "a text",
    bool: "a bool",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "a dict",
}
_HOLDERS = frozenset(("a text", "a list", "a dict"))


def _kind(value: object) -> str:
    return next(name for kind, name in _KINDS.items() if isinstance(value, kind))


def _equal(a: Any, b: Any) -> bool:
    """Tell whether two values are the same; a bool is no number, in lists and dicts neither."""
    if isinstance(a, list) and isinstance(b, list):
        left, right = cast("list[Any]", a), cast("list[Any]", b)
        return len(left) == len(right) and all(map(_equal, left, right))
    if isinstance(a, dict) and isinstance(b, dict):
        ours, theirs = cast("dict[str, Any]", a), cast("dict[str, Any]", b)
        return ours.keys() == theirs.keys() and all(_equal(ours[name], theirs[name]) for name in ours)
    return isinstance(a, bool) == isinstance(b, bool) and a == b


def _order_test(compare: Callable[[Any, Any], bool]) -> Callable[[Any], Test]:
    """Return a comparison of numbers with numbers, texts with texts; nothing else is kept."""

    def make(wanted: Any) -> Test:
        kind = str if isinstance(wanted, str) else (int, float)
        return lambda value: isinstance(value, kind) and not isinstance(value, bool) and compare(value, wanted)

    return make


def _contains(wanted: Any) -> Test:
    if isinstance(wanted, str):
        return lambda value: wanted in value if isinstance(value, (str, list, dict)) else False
    return lambda value: isinstance(value, list) and any(_equal(each, wanted) for each in cast("list[Any]", value))


def _among(wanted: Any) -> Test:
    return lambda value: any(_equal(value, each) for each in wanted)


def _between(wanted: Any) -> Test:
    low, high = wanted
    above, below = _order_test(operator.ge)(low), _order_test(operator.le)(high)
    return lambda value: above(value) and below(value)


OPERATORS: dict[str, Callable[[Any], Test]] = {
    "==": lambda wanted: lambda value: _equal(value, wanted),
    "!=": lambda wanted: lambda value: not _equal(value, wanted),
    "<": _order_test(operator.lt),
    "<=": _order_test(operator.le),
    ">": _order_test(operator.gt),
    ">=": _order_test(operator.ge),
    "in": _among,
    "between": _between,
    "contains": _contains,
    "is-null": lambda wanted: lambda value: (value is None) == wanted,
}
"""Conditions by name; ``None`` is kept by ``==``, ``!=``, ``in`` and ``is-null`` alone."""

_ORDERED = ("<", "<=", ">", ">=")


def read_where(where: Any, place: str) -> list[Condition]:
    """Return the conditions of a filter: names and values, or names and (operator, value); all must hold.

    ArgumentError for an operator that there is not, DTypeError for a value it cannot be asked with.
    """
    if where is None:
        return []
    if not is_mapping(where):
        raise DTypeError(place, "not a filter", expected='a dict such as {"batch": 42, "year": (">", 2000)}',
                         got=repr(where)[:200], remedy="Pass a dict")  # fmt: skip
    return [_condition(_name(name, place), wanted, place) for name, wanted in where.items()]


def _name(name: Any, place: str) -> str:
    if not isinstance(name, str):
        raise DTypeError(place, "not a name", expected="names that are texts", got=repr(name)[:200],
                         remedy="Filter by what the vectors were captured with")  # fmt: skip
    return name


def _condition(name: str, wanted: object, place: str) -> Condition:
    here = f"{place}, {name[:60]!r}"
    sign, value = _read(wanted, here)
    values: Sequence[Any] = value if sign in ("in", "between") else [value]
    if sign == "contains":
        kinds = [_HOLDERS if isinstance(value, str) else frozenset(("a list",))]
    else:
        kinds = [] if sign == "is-null" else [frozenset((_kind(each),)) for each in values if each is not None]
    return Condition(name, OPERATORS[sign](value), here, kinds, sign)


def _read(wanted: object, here: str) -> tuple[str, Any]:
    """Return the operator and the value of a condition."""
    if not isinstance(wanted, tuple):
        _require_value(wanted, here)
        return "==", _plain(wanted, here)
    pair = cast("tuple[Any, ...]", wanted)
    if len(pair) == 1 and pair[0] == "is-null":
        pair = ("is-null", True)
    if len(pair) != 2:
        raise ArgumentError(here, "not a condition", expected='a value, or a pair such as (">", 3)', got=repr(pair),
                            remedy="Write the operator and the value")  # fmt: skip
    sign, value = one_of(pair[0], f"{here}, operator", OPERATORS), pair[1]
    if sign in ("in", "between"):
        values = [_plain(each, here) for each in _several(value, here, sign)]
        if sign == "between":
            _require_ordered(values, here, sign)
        return sign, values
    value = _plain(value, here)
    if sign in _ORDERED:
        _require_ordered([value], here, sign)
    if sign == "is-null" and not isinstance(value, bool):
        raise DTypeError(here, "not usable with 'is-null'", expected="True or False", got=repr(value)[:200],
                         remedy='Write ("is-null", True)')  # fmt: skip
    return sign, value


def _require_value(wanted: Any, here: str) -> None:
    """See that what is compared with is no condition in the words of others."""
    first = cast("list[Any]", wanted)[0] if isinstance(wanted, list) and wanted else None
    named = next(iter(cast("dict[Any, Any]", wanted)), None) if isinstance(wanted, dict) else None
    if (isinstance(first, str) and first in OPERATORS) or (isinstance(named, str) and named.startswith("$")):
        raise ArgumentError(here, "not a condition", expected='a value, or a pair such as (">", 3)',
                            got=repr(cast("Any", wanted))[:200],
                            remedy='Write a tuple, or ("==", value) for vectors told just this')  # fmt: skip


def _several(value: Any, here: str, sign: str) -> Sequence[Any]:
    if is_array(value):
        value = value.tolist()
    if isinstance(value, (set, frozenset, range)):
        value = list(cast("set[Any]", value))
    if not isinstance(value, (list, tuple)) or (sign == "between" and len(cast("list[Any]", value)) != 2):
        raise DTypeError(here, f"not usable with {sign!r}",
                         expected="a list of values" if sign == "in" else "the lowest and the highest value",
                         got=repr(cast("Any", value))[:200], remedy="Pass a list")  # fmt: skip
    return cast("list[Any]", value)


def _plain(value: Any, here: str) -> Any:
    if is_scalar(value):
        value = value.item()
    if isinstance(value, float) and np.isnan(value):
        raise DTypeError(here, "no vector can have this value", expected="a finite number", got=value,
                         remedy='Write ("is-null", True) for those told nothing')  # fmt: skip
    if value is None or isinstance(value, (str, int, float, list, dict)):
        return cast("Any", value)
    raise DTypeError(here, "no vector can have this value", expected="a text, a number, a bool, None, a list or a dict",
                     got=repr(value)[:200], remedy="Compare with what was captured")  # fmt: skip


def _require_ordered(values: Sequence[Any], here: str, sign: str) -> None:
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            raise DTypeError(here, f"not usable with {sign!r}", expected="a number or a text", got=repr(value)[:200],
                             remedy="Use == for other values")  # fmt: skip


class _Column:
    """Numbers of values by row; ``values`` are the different ones."""

    def __init__(self) -> None:
        self.codes: list[int] = []
        self.values: list[Any] = []
        self.kinds: set[str] = set()
        """Of values that are not None."""
        self.is_told = False
        """Whether any row is told something under the name, None included."""
        self._known: dict[Any, int] = {}
        self._packed = np.empty(0, np.int64)

    def extend(self, metas: Sequence[Meta | None], name: str) -> None:
        """Take note of what later rows are told."""
        for meta in metas:
            value = None if meta is None else meta.get(name)
            key: Any = (type(value), value if isinstance(value, (str, int, float, type(None))) else repr(value))
            code = self._known.get(key)
            if code is None:
                code = self._known[key] = len(self.values)
                self.values.append(value)
                if value is not None:
                    self.kinds.add(_kind(value))
            self.is_told = self.is_told or value is not None or (meta is not None and name in meta)
            self.codes.append(code)

    def keeps(self, test: Test, rows: int) -> Array:
        """Return which of the first rows a condition holds for."""
        if len(self._packed) != len(self.codes):
            self._packed = np.array(self.codes, np.int64)
        holds = np.fromiter((bool(test(value)) for value in self.values), bool, len(self.values))
        return holds[self._packed[:rows]]


class MetaColumns:
    """The columns that filters have asked for so far, of rows that only ever get more."""

    def __init__(self) -> None:
        self._columns: dict[str, _Column] = {}

    def keeps(self, conditions: Sequence[Condition], metas: Sequence[Meta | None], rows: int) -> Array | None:
        """Return which of the first rows of ``metas`` all conditions hold for; None: there is no condition.

        ArgumentError for a name that no row is told anything under, DTypeError for a value of a kind that none has.
        """
        found: Array | None = None
        for each in conditions:
            column = self._columns.setdefault(each.name, _Column())
            column.extend(metas[len(column.codes) : rows], each.name)
            if rows:
                _require_told(each, column, metas[:rows])
            kept = column.keeps(each.test, rows)
            found = kept if found is None else found & kept
        return found

    def forget(self) -> None:
        """Begin again: rows were told something else."""
        self._columns = {}


def _require_told(condition: Condition, column: _Column, metas: Sequence[Meta | None]) -> None:
    """See that a condition could hold for some row: a slip in a name or a value finds nothing, or everything."""
    name, here = condition.name, condition.place
    if not column.is_told and condition.sign != "is-null":
        known = {each for meta in metas if meta is not None for each in meta}
        outer = next((each for each in known if name.startswith(f"{each}.")), None)
        remedy = (
            "Tell the vectors something, or leave where out"
            if not known
            else f"Names within {outer!r} are not reached: tell the vectors {name[:60]!r} itself"
            if outer is not None
            else f'{near_matches(name, known).rstrip("?.")}. ("is-null", True) keeps those that are told nothing'
        )
        raise ArgumentError(
            here,
            "no vector is told anything under this name",
            expected="a name of theirs",
            got=name[:60],
            remedy=remedy,
        )
    for kinds in condition.kinds:
        if column.kinds and not kinds & column.kinds:
            raise DTypeError(
                here,
                f"{condition.sign!r} can hold for no vector",
                expected=_either(column.kinds),
                got=_either(kinds),
                remedy="Compare with what the vectors are told",
            )


def _either(kinds: Iterable[str]) -> str:
    return " or ".join(sorted(kinds))
