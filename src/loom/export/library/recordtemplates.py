"""Templates: what Python records of a layer, a loss or an optimiser, with expressions for sizes and settings.

Layer: export. A template is recorded twice, its symbols having other values each time: what differs has lost its
expression, or branches on a value, and stops the export. Invariant: a template says nothing that the record did not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from loom.core.errors import StateError
from loom.core.late.dataclass import dataclass
from loom.core.numbers import Expression, Setting, Size, expression_of
from loom.kernels.precisions import FULL
from loom.tensor import Tensor
from loom.tensor.record.graph import Node, NodeKind, ancestors

__all__ = ["BATCH", "Symbols", "Template", "TemplateRow", "record_template", "symbol_of_axis"]

_PRIMES = tuple(n for n in range(101, 260) if all(n % d for d in range(2, 25)))
"""Values of sizes: no product of some is a size that a record has of itself."""
BATCH = "batch"
MOST_INPUTS = 3
_FOLDS = ("sum", "max", "min")
_SHIFT = 4
"""Bits of an axis in a permutation's attribute."""


def symbol_of_axis(axis: int) -> str:
    """Return the name of the size of a sample's axis."""
    return f"axis.{axis}"


class Symbols:
    """Sizes and settings of one recording: each name has a value of its own, another in each ``turn``."""

    def __init__(self, turn: int) -> None:
        self._turn, self._made = turn, 0

    def size(self, name: str) -> Size:
        """Return a new size."""
        self._made += 1
        return Size(_PRIMES[(self._made + 13 * self._turn) % len(_PRIMES)], ("symbol", name))

    def setting(self, name: str) -> Setting:
        """Return a new setting between 0 and 1, neither of them."""
        self._made += 1
        return Setting((self._made + 2 + self._turn) / 64 + 2.0**-20, ("symbol", name))

    def batch(self) -> Size:
        """Return the number of samples of a batch."""
        return self.size(BATCH)


@dataclass(frozen=True, slots=True)
class TemplateRow:
    """A node: its operation, type and operands' rows; sizes are expressions, ``numbers`` what the operation is told.

    ``told``: the expression of a constant that is not known yet; None of one that is, whose bits are in ``numbers``.
    """

    operation: str
    dtype: str
    inputs: tuple[int, ...]
    shape: tuple[Expression, ...]
    numbers: tuple[int, ...] = ()
    told: Expression | None = None


@dataclass(frozen=True, slots=True)
class Template:
    """Rows, each after its operands; the first ``forward`` depend on no gradient. ``ends``: name -> row."""

    rows: tuple[TemplateRow, ...]
    forward: int
    ends: Mapping[str, int]

    def towards(self, end: str) -> tuple[TemplateRow, ...]:
        """Return the rows that an end is made of, numbered anew."""
        needed, places = {self.ends[end]}, dict[int, int]()
        for at in reversed(range(len(self.rows))):
            if at in needed:
                needed |= set(self.rows[at].inputs)
        for at in sorted(needed):
            places[at] = len(places)
        return tuple(
            replace(self.rows[at], inputs=tuple(places[i] for i in self.rows[at].inputs)) for at in sorted(needed)
        )

    @property
    def key(self) -> tuple[Any, ...]:
        """What is equal of equal templates."""
        return self.rows, self.forward, tuple(self.ends.items())


def record_template(record: Callable[[Symbols], Mapping[str, Tensor]], where: str) -> Template:
    """Return what ``record`` records: inputs are its slots, by their names, what it returns the ends.

    Args:
        record: Function of symbols that returns ends by name.
        where: Name of the template, for errors.

    Raises:
        StateError: The record differs for other values of its symbols, or has what templates have not.
    """
    first, second = (_rows_of(record(Symbols(turn)), where) for turn in range(2))
    if first.key != second.key:
        pairs = zip(first.rows, second.rows, strict=False)
        at = next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(first.rows), len(second.rows)))
        shown = [str(each.rows[at : at + 1]) for each in (first, second)]
        raise StateError(
            f"loom.export, library, {where}",
            f"row {at} of the record depends on values",
            expected=shown[0],
            got=shown[1],
            remedy="Keep the expression, or record variants",
        )
    return first


def _rows_of(ends: Mapping[str, Tensor], where: str) -> Template:
    order = ancestors(ends.values(), _operands)
    late: set[int] = set()
    for node in order:
        is_gradient = node.op.is_fed and node.name == "gradient"
        if is_gradient or any(id(each) in late for each in _operands(node)):
            late.add(id(node))
    order = [n for n in order if id(n) not in late] + [n for n in order if id(n) in late]
    places = {id(node): at for at, node in enumerate(order)}
    rows = tuple(_row(node, places, where) for node in order)
    return Template(rows, len(order) - len(late), {name: places[id(end)] for name, end in ends.items()})


def _operands(node: Node) -> Sequence[Node]:
    """Return the tensors that elements come from: of a derivative of its own the result alone."""
    return node.inputs[-1:] if node.op.name == "route" else node.inputs


def _row(node: Node, places: Mapping[int, int], where: str) -> TemplateRow:
    inputs = tuple(places[id(each)] for each in _operands(node))
    shape, name = tuple(map(expression_of, node.shape)), node.op.name
    if len(inputs) > MOST_INPUTS:
        raise _strange(node, where, f"{len(inputs)} operands")
    if name == "input":
        return TemplateRow(f"input {node.name}", node.dtype.name, inputs, shape)
    if name == "number":
        constant, *told = node.attributes
        if told:
            return TemplateRow(name, node.dtype.name, inputs, shape, (), expression_of(told[0]))
        return TemplateRow(name, node.dtype.name, inputs, shape, (constant.bits,))
    called = f"fold_{name}" if name in _FOLDS and node.op.kind is NodeKind.KERNEL else name  # a map may be called so
    return TemplateRow(called, node.dtype.name, inputs, shape, _numbers(node, where))


def _numbers(node: Node, where: str) -> tuple[int, ...]:
    """Return what an operation is told besides its operands, as whole numbers."""
    name = node.op.name
    if name in _FOLDS and node.op.kind is NodeKind.KERNEL:
        axes, folding = node.attributes
        if (folding.element, folding.accumulator, folding.result) != (node.dtype,) * 3:
            raise _strange(node, where, f"a fold of {folding}")
        return (sum(1 << axis for axis in axes),)
    if name == "permute":
        return (sum(axis << _SHIFT * k for k, axis in enumerate(node.attributes[0])),)
    if name == "coordinate":
        return (node.attributes[0],)
    if name == "random_words":
        return (int(node.attributes[2]),)
    if name == "matmul" and node.attributes[0] in ("", FULL):
        return ()
    if node.attributes and name not in ("route", "same"):
        raise _strange(node, where, f"attributes {node.attributes}")
    if node.op.kind is NodeKind.KERNEL and name not in ("matmul", "unbroadcast", "part", "part_gradient"):
        raise _strange(node, where, "a kernel of its own")
    return ()


def _strange(node: Node, where: str, what: str) -> StateError:
    return StateError(
        f"loom.export, library, {where}",
        f"templates have no {node.op.name} with {what}",
        remedy="Teach the machine, or leave the option out",
    )
