"""Models of ONNX frozen: a function of arrays of fixed shapes, whose weights lie inside.

Layer: export. Invariant: what is written down is what ``OnnxModel.record`` records, so that C has the bits of a run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from loom.core.errors import ArgumentError, ShapeError, near_matches
from loom.export.program import FrozenFunction, freeze_program
from loom.export.words import is_taken, require_identifier
from loom.tensor.arrays.tensor import input as tensor_input

if TYPE_CHECKING:
    from loom.onnx import OnnxModel, ValueInfo

__all__ = ["freeze_onnx"]


def freeze_onnx(
    model: OnnxModel,
    shapes: Mapping[str, Sequence[int]] | None = None,
    *,
    values: Mapping[str, Any] | None = None,
    batch: int = 1,
    name: str = "model",
) -> FrozenFunction:
    """Return a model of ONNX as a function, written down for inputs of fixed shapes.

    Weights are state: they are read and written by their names. Names that are none in C are written with _.

    Args:
        model: ``loom.onnx.OnnxModel``.
        shapes: Shapes by the inputs' names; None: those that the model says, a first length that it leaves open being
            ``batch``.
        values: Arrays, by name, of inputs that decide shapes or branches, which become constants; None: none.
        batch: Number of samples.
        name: Prefix of its functions.

    Raises:
        ArgumentError: There is no such input; nothing tells a length; a name that C cannot have.
    """
    require_identifier(name)
    given, known = dict(shapes or {}), dict(values or {})
    names = [i.name for i in model.inputs]
    for called in (*given, *known):
        if called not in names:
            raise ArgumentError("loom.export.freeze_onnx", f"the model has no input {called!r}",
                                expected=", ".join(names), remedy=near_matches(str(called), names))  # fmt: skip
    fed: dict[str, Any] = {}
    taken: set[str] = set()
    for info in model.inputs:
        if info.name in known:
            fed[info.name] = np.asarray(known[info.name])
            continue
        shape = _shape(info, given.get(info.name), batch)
        fed[info.name] = tensor_input(_identifier(info.name, taken), shape, info.dtype)
    made = model.record(fed)
    outputs = {_identifier(key, taken): value for key, value in made.items()}
    frozen = freeze_program(outputs, name=name)
    used = {a.name for a in frozen.inputs}
    missing = [n for n, t in fed.items() if not isinstance(t, np.ndarray) and t.name not in used]
    if missing:
        raise ArgumentError("loom.export.freeze_onnx", "outputs do not depend on an input", got=", ".join(missing),
                            expected="inputs that matter", remedy="Pass values= for it: its shape alone is used",
                            )  # fmt: skip
    return frozen


def _shape(info: ValueInfo, given: Sequence[int] | None, batch: int) -> tuple[int, ...]:
    where = "loom.export.freeze_onnx"
    if given is not None:
        shape = tuple(int(n) for n in given)
        if info.shape is not None and len(info.shape) != len(shape):
            raise ShapeError(where, f"{info.name!r} has another shape", expected=info.shape, got=shape,
                             remedy="Give a length for each axis")  # fmt: skip
        return shape
    if info.shape is None:
        raise ArgumentError(where, f"the model does not tell the shape of {info.name!r}", expected="shapes={...}",
                            got="none", remedy=f"Pass shapes={{{info.name!r}: (1, ...)}}")  # fmt: skip
    open_axes = [i for i, n in enumerate(info.shape) if not isinstance(n, int)]
    if open_axes and open_axes != [0]:
        raise ArgumentError(where, f"lengths of {info.name!r} are open", expected="a length for each axis",
                            got=info.shape, remedy=f"Pass shapes={{{info.name!r}: (1, ...)}}, or --shape")  # fmt: skip
    return tuple(n if isinstance(n, int) else batch for n in info.shape)


def _identifier(name: str, taken: set[str]) -> str:
    """Return a name as C has names, that no other has."""
    made = "".join(c if c.isascii() and (c.isalnum() or c == "_") else "_" for c in name)
    made = f"x{made}" if not made or made[0].isdigit() else made
    made = f"{made}_" if is_taken(made) else made
    plain, count = made, 1
    while made in taken:
        count += 1
        made = f"{plain}_{count}"
    taken.add(made)
    return made
