"""Samples as training takes them: arrays of one length, of the network's types, all numbers finite.

Layer: nn. Invariant: what is wrong with data is told before anything runs, with the array and the sample.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, cast

import numpy as np

from loom.core.arrays import Array, read_array
from loom.core.conversions import convert, show, widen
from loom.core.dtype import DType, f32, i32
from loom.core.errors import ArgumentError, EmptyError, NotFinite, ShapeError
from loom.core.given import is_mapping
from loom.core.late.dataclass import dataclass
from loom.nn.train.losses import CHANCE_LOSSES

__all__ = [
    "WHOLE",
    "Samples",
    "batches",
    "by_name",
    "check_inputs",
    "check_samples",
    "for_each",
    "numbers",
    "require_ids",
]

WHOLE = "biu"
"""Kinds of numpy types that number classes."""


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Arrays (n, ...) of inputs and of targets, in the order of the network's inputs and outputs."""

    x: tuple[Array, ...]
    y: tuple[Array, ...]
    x_types: tuple[DType, ...]
    y_types: tuple[DType, ...]

    def __len__(self) -> int:
        return len(self.x[0])

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(a.nbytes for a in (*self.x, *self.y))

    def digest(self) -> str:
        """Return the SHA-256 of types, shapes and bits of all arrays: what tells data from others."""
        found = hashlib.sha256()
        for a in (*self.x, *self.y):
            found.update(f"{a.dtype.newbyteorder('<').str} {a.shape}\n".encode())
            found.update(np.ascontiguousarray(a, a.dtype.newbyteorder("<")).reshape(-1).view(np.uint8).data)
        return found.hexdigest()


def by_name(given: Any, names: Sequence[str], where: str, what: str = "x") -> dict[str, Any]:
    """Return what is given for inputs or outputs by their names: one thing, a mapping, or a list in their order.

    ArgumentError for names that are not theirs, and for another number of things.
    """
    if is_mapping(given):
        if sorted(map(str, given)) != sorted(names):
            raise ArgumentError(where, f"{what} does not name the network's {_PORTS[what]}", expected=", ".join(names),
                                got=", ".join(map(str, given)) or "nothing",
                                remedy="Pass a dict with an array for each of them")  # fmt: skip
        return {name: given[name] for name in names}
    if len(names) == 1:
        return {names[0]: given}
    kind = type(given).__name__
    several = cast("Sequence[Any]", given) if isinstance(given, (list, tuple)) else None
    if several is None or len(several) != len(names):
        many = kind if several is None else f"{len(several)} things"
        raise ArgumentError(where, f"the network has several {_PORTS[what]}",
                            expected=f"a dict of {', '.join(map(repr, names))}, or a list of {len(names)} arrays",
                            got=many, remedy="Pass one array for each, the first axis counting samples")  # fmt: skip
    return dict(zip(names, several, strict=True))


def for_each(given: Any, names: Iterable[str]) -> Mapping[str, Any]:
    """Return a setting by name: as it is given, or the same for all."""
    return given if is_mapping(given) else dict.fromkeys(names, given)


_PORTS = {"x": "inputs", "y": "outputs"}


def numbers(x: Any, where: str, name: str = "x") -> Array:
    """Return ``x`` as an array (``core.arrays``), bf16 as f32; DTypeError if it is none of numbers."""
    return widen(*read_array(x, f"{where}, {name}"))


def check_inputs(x: Any, x_type: DType, where: str, name: str = "x", rows: int | None = None) -> Array:
    """Return inputs as a contiguous array of a type; errors for no samples, no numbers, NaN and infinities.

    ``rows``: of the table that they are looked up in: ArgumentError for what is no row of it.
    """
    found, held = read_array(x, f"{where}, {name}")
    if found.ndim == 0 or len(found) == 0:
        raise EmptyError(where, f"{name} has no samples", expected="at least 1", got=f"shape {found.shape}",
                         remedy="Pass an array whose first axis counts samples")  # fmt: skip
    if held.is_float:
        _require_finite(widen(found, held), where, name)
    made = show(convert(found, held, x_type, f"{where}, {name}"), x_type)
    if rows is not None:
        require_ids(made, rows, where, name)
    return made


def require_ids(ids: Array, rows: int, where: str, name: str = "x") -> None:
    """Raise ArgumentError for an id that is no row of a table, in place of looking up zeros."""
    least, most = (ids.min(), ids.max()) if ids.size else (0, 0)
    if least >= 0 and most < rows and (ids.dtype.kind in WHOLE or bool((np.floor(ids) == ids).all())):
        return
    wide = np.asarray(ids, np.float64) if ids.dtype.kind not in WHOLE else ids
    wrong = (wide < 0) | (wide >= rows) | (np.floor(wide) != wide)
    at = tuple(np.argwhere(wrong)[0])
    raise ArgumentError(
        where,
        f"an id out of range: {name}, sample {at[0]}",
        expected=f"whole numbers from 0 to {rows - 1}, the rows of the embedding",
        got=f"{wide[at]:g}",
        remedy="Check which tokenizer made them, or give the embedding a row for each id",
    )


def _require_finite(array: Array, where: str, name: str) -> None:
    finite = np.isfinite(array)
    if not finite.all():
        rows = finite.reshape(len(array), -1).all(1)
        at = int(np.argmin(rows))
        row = array[at].reshape(-1)
        value = "NaN" if np.isnan(row[~np.isfinite(row)][0]) else "an infinity"
        error = NotFinite(where, f"{value} in the data: {name}, sample {at}", expected="finite numbers",
                          remedy="Remove or replace it; nothing was run")  # fmt: skip
        error.tensor = name
        raise error


def check_samples(
    x: Any,
    y: Any,
    loss: Any,
    x_type: DType | Mapping[str, DType] = f32,
    where: str = "train",
    *,
    y_type: DType = f32,
    outputs: Sequence[str] = (),
    rows: Mapping[str, int] | None = None,
) -> Samples:
    """Return samples for a loss; classes for those of classes become i32, other targets floats of ``y_type``.

    Of several inputs ``x_type`` has the types by name, of several outputs ``outputs`` the names and ``loss`` the losses
    by name; ``x`` and ``y`` are what ``by_name`` takes then. ``rows``: of tables that inputs are looked up in.
    """
    types = x_type if isinstance(x_type, Mapping) else {"x": x_type}
    given = by_name(x, tuple(types), where) if isinstance(x_type, Mapping) else {"x": x}
    tables = rows or {}
    if not isinstance(x_type, Mapping):
        tables = dict(zip(given, tables.values(), strict=False))
    inputs = [check_inputs(a, types[n], where, _place("x", n), tables.get(n)) for n, a in given.items()]
    wanted = by_name(y, outputs, where, "y") if outputs else {"y": y}
    losses = for_each(loss, wanted)
    targets: list[Array] = []
    held: list[DType] = []
    for name, each in wanted.items():
        read = numbers(each, where, _place("y", name))
        of_classes = isinstance(losses[name], str) and losses[name] in CHANCE_LOSSES
        held.append(i32 if of_classes and read.dtype.kind in WHOLE else y_type)
        targets.append(check_inputs(read, held[-1], where, _place("y", name)))
    places = [*map(partial(_place, "x"), given), *map(partial(_place, "y"), wanted)]
    for what, a in zip(places, (*inputs, *targets), strict=True):
        if len(a) != len(inputs[0]):
            which, kind = "" if len(places) == 2 else f": {what}", "targets" if what[0] == "y" else "samples"
            raise ShapeError(where, f"x and y differ in samples{which}", expected=f"{len(inputs[0])} {kind}",
                             got=len(a), remedy="One target for each sample")  # fmt: skip
    return Samples(tuple(inputs), tuple(targets), tuple(types.values()), tuple(held))


def _place(what: str, name: str) -> str:
    return what if name == what else f"{what} {name!r}"


def batches(n: int, size: int) -> list[slice]:
    """Return the batches of n samples; the last has what is left."""
    return [slice(at, min(at + size, n)) for at in range(0, n, size)]
