"""Samples as a user gives them, one or a batch; targets: a class index, classes, or numbers of the output's shape.

Layer: nn. Invariant: what is wrong is told before anything runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from loom.core.arrays import Array
from loom.core.dtype import DType
from loom.core.errors import ArgumentError, ShapeError
from loom.nn.spec import Input
from loom.nn.train.samples import WHOLE, by_name, check_inputs, numbers
from loom.nn.train.targets import Output

__all__ = ["read_inputs", "read_targets"]


def read_inputs(inputs: Sequence[Input], x: Any, where: str, rows: Mapping[str, int]) -> tuple[dict[str, Array], bool]:
    """Return inputs by name, of a batch, and whether one sample was given; ``rows``: of their tables."""
    kinds = {i.name: i for i in inputs}
    named = by_name(x, tuple(kinds), f"{where}, x")
    labels = {n: f"x {n!r}" if len(named) > 1 else "x" for n in named}
    arrays = {n: numbers(a, where, labels[n]) for n, a in named.items()}
    is_one = all(a.shape == kinds[n].shape for n, a in arrays.items())
    found: dict[str, Array] = {}
    for name, value in arrays.items():
        a = check_inputs(value[None] if is_one else value, kinds[name].dtype, where, labels[name], rows.get(name))
        if a.shape[1:] != kinds[name].shape:
            sizes = ", ".join(["n", *map(str, kinds[name].shape)])
            raise ShapeError(f"{where}, input {name!r}", "the array has another shape", expected=f"({sizes})",
                             got=a.shape, remedy="The first axis counts samples")  # fmt: skip
        found[name] = a
    sizes = {len(a) for a in found.values()}
    if len(sizes) > 1:
        raise ShapeError(where, "the inputs differ in samples", expected="as many of each", got=sorted(sizes),
                         remedy="The first axis of each counts samples")  # fmt: skip
    return found, is_one


def read_targets(
    outputs: Mapping[str, Output], y: Any, y_type: DType, where: str, *, is_one: bool = False
) -> dict[str, Array]:
    """Return targets by output: classes as i32, one for each row of the output, or numbers of its shape.

    ``is_one``: they are of one sample, without its axis.
    """
    given = by_name(y, tuple(outputs), where, "y")
    found: dict[str, Array] = {}
    for name, each in given.items():
        place = where if len(outputs) == 1 else f"{where} {name!r}"
        a = numbers(each, *_split_place(place))
        found[name] = _read(outputs[name].shape, a[None] if is_one else a, y_type, place)
    return found


def _split_place(place: str) -> tuple[str, str]:
    before, _, name = place.rpartition(", ")
    return before, name


def _read(shape: tuple[int, ...], a: Array, y_type: DType, place: str) -> Array:
    width = shape[-1] if shape else 1
    if a.dtype.kind in WHOLE and a.shape[1:] == shape[:-1] and width > 1 and a.ndim:
        if ((a < 0) | (a >= width)).any():
            raise ArgumentError(place, "a class out of range", expected=f"0 to {width - 1}",
                                got=f"{a.min()} to {a.max()}", remedy="Number classes from 0")  # fmt: skip
        return a.astype(np.int32)
    if width == 1 and a.ndim and shape and a.shape[1:] == shape[:-1]:
        a = a[..., None]
    if a.ndim == 0 or a.shape[1:] != shape:
        sizes = ", ".join(["n", *map(str, shape)])
        classes = f", or classes ({', '.join(['n', *map(str, shape[:-1])])}) as integers" if width > 1 else ""
        raise ShapeError(place, "targets do not fit the output", expected=f"({sizes}){classes}", got=a.shape,
                         remedy="Give one class, or one number for each element of the output")  # fmt: skip
    return check_inputs(a, y_type, *_split_place(place))
