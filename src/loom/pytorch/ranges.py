"""Lengths that a module takes: the graph of each, which holds within the ranges that PyTorch told.

Layer: pytorch. ``torch.export`` takes a free length to be 2 or more, and a length of 0 or 1 to be a module of its own.
Invariant: a graph is recorded for lengths that it was traced for alone; others are refused.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from loom.core.errors import ShapeError
from loom.core.late.dataclass import dataclass
from loom.pytorch.graph import AtenGraph, graph_of

__all__ = ["LEAST", "Ranges", "Way", "open_guards", "select", "way_of"]

Ranges = Mapping[str, tuple[int, int | None]]
"""Least and most of each free length, by its name; None: no most."""
Shape = tuple[int | str | None, ...]
Lengths = Any
"""An int or an expression of sympy's, and tuples, lists and dicts of them."""
LEAST = 2
"""What PyTorch takes a free length to be at least."""
_SIZE = r"L(?:\[[^\]]*\])+\.size\(\)\[\d+\]"
_CHECKED = re.compile(rf"\(?(?:{_SIZE} (?:[<>]=?) \d+|\d+ (?:[<>]=?) {_SIZE}|{_SIZE} != [01]|{_SIZE} == {_SIZE})\)?")


@dataclass(frozen=True)
class Way:
    """A graph, and the lengths that it was traced for: the inputs' shapes, in order, and the ranges of named ones."""

    graph: AtenGraph
    shapes: tuple[Shape | None, ...]
    ranges: Ranges

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {"graph": self.graph.to_json(), "shapes": [None if s is None else list(s) for s in self.shapes],
                "ranges": {n: list(r) for n, r in self.ranges.items()}}  # fmt: skip

    def misfit(self, shapes: Sequence[tuple[int, ...]]) -> tuple[int, int, str] | None:
        """Return the input, the axis and what was expected of the first length that is none of its own."""
        lengths: dict[str, int] = {}
        for k, (wanted, shape) in enumerate(zip(self.shapes, shapes, strict=True)):
            for axis, (length, n) in enumerate(zip(wanted or (), shape, strict=False)):
                if isinstance(length, str):
                    least, most = self.ranges.get(length, (LEAST, None))
                    if n < least or (most is not None and n > most):
                        return k, axis, f"{least} or more" if most is None else f"{least} to {most}"
                    if lengths.setdefault(length, n) != n:
                        return k, axis, f"{lengths[length]}, as another length {length!r}"
                elif length is not None and n != length:
                    return k, axis, str(length)
        return None


def way_of(document: Any) -> Way:
    """Return the way of ``Way.to_json``."""
    return Way(
        graph_of(document["graph"]),
        tuple(None if s is None else tuple(s) for s in document["shapes"]),
        {str(n): (int(a), None if b is None else int(b)) for n, (a, b) in document["ranges"].items()},
    )


def select(
    ways: Sequence[Way], names: Sequence[str], shapes: Sequence[tuple[int, ...]], *, training: bool
) -> AtenGraph:
    """Return the graph of lengths; ShapeError, by the input's name, if the module was traced for none like them."""
    where = "from_torch, in training" if training else "from_torch"
    for way in ways:
        if way.misfit(shapes) is None:
            return way.graph
    found = ways[0].misfit(shapes)
    assert found is not None
    k, axis, expected = found
    n = shapes[k][axis]
    remedy = f"Import it with an example of length {n} there and dynamic=False"
    if training and not axis:
        remedy = f"Let batches have {expected} samples: choose a batch_size that leaves none over, or leave some out"
    raise ShapeError(where, f"axis {axis} of {names[k]!r}: the module does otherwise for this length, or was imported "
                     "for others", expected=expected, got=n,
                     remedy=remedy)  # fmt: skip


def open_guards(guards: Sequence[str], arguments: Lengths) -> list[str]:
    """Return the conditions on lengths that ranges do not tell, and that do not hold whatever the lengths are.

    ``arguments``: what forward is called with, by its parameters, nested, with shapes in the places of tensors.
    """
    return [
        g for g in map(str.strip, guards) if "size()" in g and not _CHECKED.fullmatch(g) and not _holds(g, arguments)
    ]


def _divide(a: Lengths, b: Lengths) -> Lengths:
    return a // b


_ARITHMETIC: dict[type[ast.operator], Callable[[Lengths, Lengths], Lengths]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Mod: operator.mod,
    ast.FloorDiv: _divide,
}
_TRUE: dict[type[ast.cmpop], frozenset[int]] = {
    ast.Eq: frozenset((0,)),
    ast.NotEq: frozenset((-1, 1)),
    ast.Lt: frozenset((-1,)),
    ast.LtE: frozenset((-1, 0)),
    ast.Gt: frozenset((1,)),
    ast.GtE: frozenset((0, 1)),
}
"""A comparison -> the signs that what is left less what is right has where it holds."""


def _holds(guard: str, arguments: Lengths) -> bool:
    """Tell whether comparisons of polynomials of lengths are true whatever these are, from ``LEAST`` on."""
    try:
        return _is_true(ast.parse(guard, mode="eval").body, arguments)
    except (SyntaxError, LookupError, TypeError, ZeroDivisionError):
        return False


def _is_true(node: ast.expr, arguments: Lengths) -> bool:
    match node:
        case ast.BoolOp():
            found = (_is_true(each, arguments) for each in node.values)
            return any(found) if isinstance(node.op, ast.Or) else all(found)
        case ast.Compare(ops=[op]):
            difference = _number(node.left, arguments) - _number(node.comparators[0], arguments)
            return _signs(difference) <= _TRUE.get(type(op), frozenset())
        case _:
            return False


def _signs(number: Lengths) -> frozenset[int]:
    """Return the signs that a polynomial, an int or sympy's, may have of symbols from ``LEAST`` on; all if it is none.

    In powers of what each symbol is above the least, coefficients of one sign add up to that sign.
    """
    if isinstance(number, int):
        return frozenset(((number > 0) - (number < 0),))
    symbols = number.free_symbols
    if not number.is_polynomial(*symbols):
        return frozenset((-1, 0, 1))
    terms = number.xreplace({symbol: symbol + LEAST for symbol in symbols}).expand().as_coefficients_dict()
    signs = {(n > 0) - (n < 0) for n in map(int, terms.values())} - {0}
    if len(signs) > 1:
        return frozenset((-1, 0, 1))
    return frozenset(signs) if terms.get(1, 0) else frozenset(signs | {0})


def _number(node: ast.expr, arguments: Lengths) -> Lengths:
    """Return an expression of lengths: an int, or sympy's; TypeError for arithmetic of no whole numbers."""
    match node:
        case ast.Constant(value=int()):
            return node.value
        case ast.BinOp() if type(node.op) in _ARITHMETIC:
            return _ARITHMETIC[type(node.op)](_number(node.left, arguments), _number(node.right, arguments))
        case ast.Subscript(value=ast.Call(func=ast.Attribute(attr="size")), slice=ast.Constant()):
            call = cast("ast.Call", node.value)
            return _argument(cast("ast.Attribute", call.func).value, arguments)[cast("ast.Constant", node.slice).value]
        case ast.Call(func=ast.Name(id="max" | "min" as name)):
            found, *others = (_number(each, arguments) for each in node.args)
            for other in others:
                signs = _signs(found - other)
                if not (signs <= {0, 1} or signs <= {-1, 0}):
                    raise TypeError(ast.unparse(node))
                found = found if (signs <= {0, 1}) == (name == "max") else other
            return found
        case _:
            raise TypeError(ast.unparse(node))


def _argument(node: ast.expr, arguments: Lengths) -> Lengths:
    """Return what ``L['x'][0]`` is among arguments."""
    if not (isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant)):
        return arguments
    return _argument(node.value, arguments)[node.slice.value]
