"""Several records of one program, of other sizes, seen as one graph whose lengths may be open.

Layer: export. Invariant: the records have the same operations in the same order, or are refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, cast

import numpy as np

from loom.core.dtype import DType
from loom.core.late.dataclass import dataclass
from loom.export.onnx.writing.lengths import Length, LengthFormula, Size, formula_of, length
from loom.kernels.maps.nest import Number
from loom.tensor.ops.views import DETACH, ROUTE, SLICE
from loom.tensor.program import constants_of
from loom.tensor.record.graph import INPUT, PARAMETER, SAME, Node, TensorOp, ancestors
from loom.tensor.record.versions import VALUE

__all__ = ["ALIASES", "GraphRecord", "OpenNumber", "RecordedValue", "RecordsDiffer", "SizedRecord", "join_records"]

ALIASES = (DETACH, ROUTE, SAME, VALUE)
"""Operations whose result is their last input."""
_EXACT = 1 << 24
"""Whole numbers up to which every float type that computes holds each."""


class RecordsDiffer(Exception):
    """Records of other sizes are not the same operations; says what differs."""


@dataclass(frozen=True, slots=True)
class SizedRecord:
    """One record: tensors fed and made, by name, and names of layers by what they gave."""

    inputs: Mapping[str, Node]
    outputs: Mapping[str, Node]
    layers: Mapping[int, str] = field(default_factory=dict[int, str])
    """By ``id`` of a node."""


@dataclass(frozen=True, slots=True)
class OpenNumber:
    """A number that is an open length: how many elements a mean is of."""

    length: Length
    dtype: DType


@dataclass(eq=False, slots=True)
class RecordedValue:
    """An operation of the joined record; ``nodes``: it in each record. ``is_known``: its elements are constants."""

    op: TensorOp
    inputs: tuple[RecordedValue, ...]
    shape: tuple[Size, ...]
    dtype: DType
    attributes: Any
    nodes: tuple[Node, ...]
    is_known: bool
    layer: str = ""

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def longest(self) -> Node:
        """The node of most elements: of a constant, what the others are the first parts of."""
        return max(self.nodes, key=lambda n: n.size)

    def array(self) -> np.ndarray[Any, Any]:
        """Return the elements of a constant (bf16 as its 16 bits), the longest."""
        return _elements(self.longest)


@dataclass(frozen=True, slots=True)
class GraphRecord:
    """What is written: values fed and made, by name, and the lengths that are named, by what they were."""

    inputs: Mapping[str, RecordedValue]
    outputs: Mapping[str, RecordedValue]
    named: Mapping[str, tuple[int, ...]]


def join_records(
    records: Sequence[SizedRecord], named: Mapping[str, Sequence[int]], most: Mapping[str, int] | None = None
) -> GraphRecord:
    """Return records as one; RecordsDiffer if they are not the same operations.

    ``most``: the largest that a named length may be, which is one of its sizes. A constant that is longer where the
    length is, and begins alike, is the first part of the longest.
    """
    is_there = [constants_of(cast("Any", list(r.outputs.values()))) for r in records]
    listed = [
        ancestors([*r.inputs.values(), *r.outputs.values()], lambda n, there=there: _behind(n, there))
        for r, there in zip(records, is_there, strict=True)
    ]
    if len({len(nodes) for nodes in listed}) > 1:
        raise RecordsDiffer(f"{' and '.join(str(len(n)) for n in listed)} operations")
    places = [{id(n): i for i, n in enumerate(nodes)} for nodes in listed]
    values: list[RecordedValue] = []
    for nodes in zip(*listed, strict=True):
        known = {there(n) and n.op is not INPUT for n, there in zip(nodes, is_there, strict=True)}
        inputs = [
            [place[id(i)] for i in _behind(n, there)] for n, place, there in zip(nodes, places, is_there, strict=True)
        ]
        if len(known) > 1 or any(i != inputs[0] for i in inputs) or not _are_one_operation(nodes):
            raise RecordsDiffer(" and ".join(dict.fromkeys(n.op.name for n in nodes)))
        is_known = known.pop()
        if is_known and len({n.shape for n in nodes}) > 1:
            _require_first_parts(nodes, named, most or {})
        values.append(_join(nodes, tuple(values[i] for i in inputs[0]), is_known))
    for identity, layer in records[0].layers.items():
        at = places[0].get(identity)
        if at is not None:
            values[at].layer = values[at].layer or layer

    def of(what: str) -> dict[str, RecordedValue]:
        return {name: values[places[0][id(node)]] for name, node in getattr(records[0], what).items()}

    return GraphRecord(of("inputs"), of("outputs"), {k: tuple(v) for k, v in named.items()})


def _behind(node: Node, is_there: Any) -> Sequence[Node]:
    if is_there(node):
        return ()
    return node.inputs[-1:] if node.op in ALIASES else node.inputs


def _join(nodes: tuple[Node, ...], inputs: tuple[RecordedValue, ...], is_known: bool) -> RecordedValue:
    first = nodes[0]
    if any(n.dtype != first.dtype or n.ndim != first.ndim for n in nodes):
        raise RecordsDiffer(first.op.name)
    if is_known and any(n is not first and n.shape == first.shape and not _same_elements(n, first) for n in nodes):
        raise RecordsDiffer("constants")
    shape = tuple(length(lengths) for lengths in zip(*(n.shape for n in nodes), strict=True))
    op = next((n.op for n in nodes if n.op is not SAME), first.op)
    plain = op in ALIASES or is_known
    attributes = () if plain else _merge([_attributes_of(n, op) for n in nodes], op.name)
    return RecordedValue(op, inputs, shape, first.dtype, attributes, nodes, is_known)


def _are_one_operation(nodes: tuple[Node, ...]) -> bool:
    """Return whether nodes are the same operation; a slice of all there is counts as one."""
    kinds = {n.op for n in nodes}
    return len(kinds) == 1 or kinds == {SLICE, SAME}


def _attributes_of(node: Node, op: TensorOp) -> Any:
    return ((0,) * node.ndim, (1,) * node.ndim) if op is SLICE and node.op is SAME else node.attributes


def _require_first_parts(
    nodes: tuple[Node, ...], named: Mapping[str, Sequence[int]], most: Mapping[str, int]
) -> None:  # fmt: skip
    """RecordsDiffer unless constants are all first parts of the one that the largest lengths have."""
    whole = tuple(max(lengths) for lengths in zip(*(n.shape for n in nodes), strict=True))
    longest = next((n for n in nodes if n.shape == whole), None)
    if longest is None or longest.op is PARAMETER or any(n.ndim != longest.ndim for n in nodes):
        raise RecordsDiffer("constants")
    for axis, n in enumerate(whole):
        size = length([node.shape[axis] for node in nodes])
        formula = formula_of(size, named) if isinstance(size, Length) else None
        if isinstance(size, Length) and (
            formula is None or formula != LengthFormula(formula.names[:1], 1, 0) or most.get(formula.names[0]) != n
        ):
            raise RecordsDiffer("constants")
    elements = _elements(longest)
    if any(_elements(n).tobytes() != elements[tuple(slice(k) for k in n.shape)].tobytes() for n in nodes):
        raise RecordsDiffer("constants")


def _elements(node: Node) -> np.ndarray[Any, Any]:
    assert node.data is not None
    return np.frombuffer(node.data.read(0, node.nbytes).tobytes(), node.dtype.numpy).reshape(node.shape)


def _same_elements(a: Node, b: Node) -> bool:
    if a.op is PARAMETER or b.op is PARAMETER or a.shape != b.shape:
        return False
    if a.data is b.data:
        return True
    assert a.data is not None
    assert b.data is not None
    return a.data.read(0, a.nbytes).tobytes() == b.data.read(0, b.nbytes).tobytes()


def _merge(parts: Sequence[Any], name: str) -> Any:
    """Return attributes, lengths where whole numbers differ."""
    first = parts[0]
    if all(isinstance(p, Number) and p.dtype == first.dtype for p in parts) and len({p.bits for p in parts}) > 1:
        return _open_number(parts, name)
    if all(type(p) is int for p in parts):
        return length(parts)
    if all(type(p) is tuple and len(cast("tuple[Any, ...]", p)) == len(first) for p in parts):  # a Folding is whole
        return tuple(_merge(each, name) for each in zip(*parts, strict=True))
    if any(p is not first and p != first for p in parts):
        raise RecordsDiffer(f"attributes of {name}")
    return first


def _open_number(parts: Sequence[Number], name: str) -> OpenNumber:
    """Return a number that differs as an open length; RecordsDiffer for others."""
    values = [p.value for p in parts]
    if parts[0].dtype.is_bool or any(v != v or abs(v) > _EXACT or v != int(v) for v in values):  # noqa: PLR0124
        raise RecordsDiffer(f"attributes of {name}")
    found = length([int(v) for v in values])
    assert isinstance(found, Length)
    return OpenNumber(found, parts[0].dtype)
