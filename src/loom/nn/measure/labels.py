"""Labels and scores as measures take them: any labels that have an order, numbers that are finite.

Layer: nn. Invariant: labels of two kinds (a text and a number) are an error, never compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from loom.core.arrays import Array, read_array
from loom.core.conversions import widen
from loom.core.errors import ArgumentError, DTypeError, EmptyError, NotFinite, ShapeError
from loom.core.given import is_array, is_list, items

__all__ = [
    "all_labels", "as_list", "names_of", "number_labels", "read_labels", "read_scores", "read_truths",
    "require_as_many", "require_exact",
]  # fmt: skip


def read_labels(values: Any, where: str) -> Array:
    """Return labels (n): whole numbers as int64, truths as bool, texts as texts; floats must be whole.

    EmptyError for none; ShapeError for several axes; DTypeError for what are no labels, or of several kinds.
    """
    found = _as_array(values, where)
    if found.ndim != 1 and not (found.ndim == 2 and found.shape[1] == 1):
        raise ShapeError(where, "not one label for each sample", expected="(n,)", got=found.shape,
                         remedy="Of one-hot rows pass rows.argmax(-1)")  # fmt: skip
    found = found.reshape(-1)
    if not len(found):
        raise EmptyError(where, "no samples", expected="at least 1", got=0, remedy="Pass labels of some")
    if found.dtype.kind in "Ub":
        return found
    if found.dtype.kind == "f":
        found = found.astype(np.float64)
        if not (np.isfinite(found) & (found == np.floor(found)) & (np.abs(found) < 2.0**53)).all():
            raise DTypeError(where, "numbers that are no labels", expected="whole numbers, truths or texts",
                             got="fractions, NaN or infinities", remedy="Pass classes, or use deviation_metrics",
                             )  # fmt: skip
        return found.astype(np.int64)
    if found.dtype == np.uint64 and (found > np.uint64(2**63 - 1)).any():
        raise DTypeError(where, "a label out of range", expected="up to 2**63 - 1", got=int(found.max()),
                         remedy="Number classes from 0")  # fmt: skip
    return found.astype(np.int64)


def _as_array(values: Any, where: str) -> Array:
    """Return texts as an array of texts, anything else as numbers."""
    if is_array(values) and values.dtype.kind == "O":
        values = values.tolist()
    if is_array(values) and values.dtype.kind in "UT":
        return values.astype(np.str_)
    if is_list(values) and any(isinstance(v, str) for v in values):
        kinds = {type(v).__name__ for v in values if not isinstance(v, str)}
        if kinds:
            raise DTypeError(where, "labels of several kinds", expected="texts alone, or numbers alone",
                             got=f"str and {', '.join(sorted(kinds))}", remedy="Convert them to one")  # fmt: skip
        values = np.array(values, object)
        if any(v.endswith("\0") for v in values):
            raise DTypeError(where, "a text that ends with a NUL", expected="texts that numpy can hold",
                             got=repr(next(v for v in values if v.endswith("\0")))[:40],
                             remedy="Strip it: numpy would take it for the text without")  # fmt: skip
        return values.astype(np.str_)
    return widen(*read_array(values, where))


def require_exact(found: Array, where: str) -> None:
    """See that f64 holds whole numbers as they are; DTypeError else."""
    most = 1 << 53
    if found.dtype.kind in "iu" and found.dtype.itemsize == 8 and found.size and (
        int(found.max()) > most or int(found.min()) < -most
    ):  # fmt: skip
        raise DTypeError(where, "whole numbers that f64 would round", expected="-2**53 to 2**53",
                         got=f"{found.min()} to {found.max()}",
                         remedy="Subtract the least of them, or pass array.astype(float)")  # fmt: skip


def require_as_many(where: str, **arrays: Array) -> None:
    """See that arrays have as many samples; ShapeError else."""
    (first, a), *others = arrays.items()
    for name, other in others:
        if len(a) != len(other):
            raise ShapeError(where, f"{first} and {name} differ in samples", expected=len(a), got=len(other),
                             remedy="Pass one of each for each sample")  # fmt: skip


def as_list(given: Any, where: str) -> list[Any]:
    """Return labels or names in their order; ArgumentError for what has none, as a set."""
    if isinstance(given, (set, frozenset)):
        raise ArgumentError(where, "a set has no order", expected="a list", got=repr(cast("object", given))[:80],
                            remedy="Pass sorted(...)")  # fmt: skip
    return list(given) if isinstance(given, str) else items(given, where, "labels")


def all_labels(given: Any, where: str, *arrays: Array) -> Array:
    """Return the labels: those given, in their order, or all that are met, sorted.

    DTypeError for arrays of different kinds; ArgumentError for labels twice, or one that is met and not given.
    """
    kinds = {"text" if a.dtype.kind == "U" else "number" for a in arrays}
    told = None if given is None else read_labels(given, f"{where}, labels")
    if told is not None:
        kinds.add("text" if told.dtype.kind == "U" else "number")
    if len(kinds) > 1:
        raise DTypeError(where, "labels of several kinds", expected="texts alone, or numbers alone",
                         got="texts and numbers", remedy="Convert them to one")  # fmt: skip
    met = np.unique(np.concatenate([_plain(a) for a in arrays]))
    if told is None:
        return met if any(a.dtype.kind != "b" for a in arrays) else met.astype(bool)
    found = _plain(told)
    if len(np.unique(found)) != len(found):
        raise ArgumentError(f"{where}, labels", "a label is there twice", expected="each once", got=found.tolist(),
                            remedy="Leave it out once")  # fmt: skip
    unknown = np.setdiff1d(met, found)
    if len(unknown):
        raise ArgumentError(f"{where}, labels", "samples have a label that is not among them",
                            expected=str(found.tolist())[:80], got=unknown.tolist()[0],
                            remedy="Pass all labels, or leave labels out")  # fmt: skip
    return found


def _plain(a: Array) -> Array:
    return a.astype(np.int64) if a.dtype.kind == "b" else a


def number_labels(values: Array, labels: Array) -> Array:
    """Return the place of each value among the labels."""
    order = np.argsort(labels, kind="stable")
    return order[np.searchsorted(_plain(labels)[order], _plain(values))]


def read_scores(values: Any, where: str) -> Array:
    """Return scores as f64; NotFinite for NaN and infinities, DTypeError for whole numbers that f64 would round."""
    given = widen(*read_array(values, where))
    require_exact(given, where)
    found = given.astype(np.float64)
    if not np.isfinite(found).all():
        error = NotFinite(where, "NaN or an infinity among the scores", expected="finite numbers",
                          remedy="Remove those samples")  # fmt: skip
        error.tensor = "scores"
        raise error
    return found


def read_truths(values: Any, where: str, positive: Any = None) -> Array:
    """Return a bool for each sample: whether it is positive, that is True, 1, or the label ``positive``.

    ArgumentError unless there are both kinds.
    """
    found = read_labels(values, where)
    labels: list[Any] = np.unique(found).tolist()
    if positive is None:
        if found.dtype.kind == "U" or not set(labels) <= {0, 1}:
            raise ArgumentError(where, "which label is the positive one is not told", expected="truths, or 0 and 1",
                                got=str(labels[:8]), remedy="Pass positive=..., the label that is")  # fmt: skip
        truths = found.astype(bool)
    else:
        wanted = read_labels([positive], f"{where}, positive")
        if (wanted.dtype.kind == "U") != (found.dtype.kind == "U"):
            raise DTypeError(f"{where}, positive", "of another kind than the labels", expected=str(labels[:8]),
                             got=repr(positive), remedy="Pass one of the labels")  # fmt: skip
        truths = _plain(found) == _plain(wanted)[0]
    if truths.all() or not truths.any():
        raise ArgumentError(where, "all samples are of one class", expected="positive and negative ones",
                            got=str(labels[:8]), remedy="Measure with samples of both")  # fmt: skip
    return truths


def names_of(labels: Array, names: Sequence[str] | None, where: str) -> tuple[str, ...]:
    """Return what labels are called: by ``names``, one for each, or as they are."""
    if names is None:
        return tuple(map(str, labels.tolist()))
    found = tuple(map(str, as_list(names, f"{where}, names")))
    if len(found) != len(labels):
        raise ArgumentError(f"{where}, names", "not one name for each label", expected=len(labels), got=len(found),
                            remedy="Pass as many as there are labels")  # fmt: skip
    return found
