"""Recording a graph: node after node, values by name, bodies of control flow, functions.

Layer: onnx. An operator without a function of its own is recorded by the body that ONNX's standard or the model gives
it. Invariant: recording a graph runs nothing that depends on what is fed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np

from loom.core.dtype import of_numpy
from loom.core.errors import ArgumentError, DTypeError
from loom.importers.recordings import GraphPass
from loom.onnx.folding import fold
from loom.onnx.functions import is_own
from loom.onnx.operatorschemas import formals, schema_of, tensor_type
from loom.onnx.protos import domain_of, opsets_of
from loom.onnx.registry import OPERATORS, NodeCall
from loom.onnx.scopes import ScopedRecording
from loom.onnx.values import Held, ValueSequence, element_of_dtype, onnx
from loom.tensor.arrays.tensor import Tensor

__all__ = ["GraphRecording", "is_done"]

_DEEPEST = 64
"""Graphs within graphs, and functions within functions."""
_MOST_NODES = 1 << 20
"""Nodes of one recording, those of unrolled loops counted each time."""


def is_done(node: Any, opsets: Mapping[str, int], functions: Mapping[tuple[str, str], Any]) -> bool:
    """Return whether a node can be recorded: by a function here, of the model, or of the standard."""
    key = domain_of(node.domain), node.op_type
    if key in OPERATORS or key in functions:
        return True
    schema = schema_of(node.op_type, opsets.get(key[0], 0), node.domain)
    return schema is not None and (schema.has_function or schema.has_context_dependent_function)


class GraphRecording(ScopedRecording):
    """One recording of a graph. ``kept``: what earlier recordings made of weights."""

    def __init__(
        self, opsets: Mapping[str, int], functions: Mapping[tuple[str, str], Any], device: Any, kept: dict[Any, Any],
        initializers: Callable[[Any], Mapping[str, np.ndarray[Any, Any]]],
        read_tensor: Callable[[Any], np.ndarray[Any, Any]], run: GraphPass | None = None,
    ) -> None:  # fmt: skip
        super().__init__(device, run, kept, read_tensor)
        self.opsets, self.functions, self._initializers = opsets, functions, initializers
        self._nodes = 0

    def graph(self, graph: Any, inputs: Sequence[Held]) -> list[Any]:
        """Record a body over the names around it, and return its outputs."""
        if len(self._scopes) > _DEEPEST:
            raise ArgumentError(f"onnx, graph {graph.name!r}", "graphs are nested too deeply", expected=_DEEPEST,
                                got="more", remedy="Simplify the model")  # fmt: skip
        if len(inputs) != len(graph.input):
            raise ArgumentError(f"onnx, graph {graph.name!r}", "another number of inputs", expected=len(graph.input),
                                got=len(inputs), remedy="Check the model with onnx.checker")  # fmt: skip
        scope: dict[str, Held | None] = dict(self._initializers(graph))
        scope.update({declared.name: value for declared, value in zip(graph.input, inputs, strict=True)})
        return self.within(scope, graph.node, [output.name for output in graph.output], self.opsets)

    # how nodes are recorded

    def within(
        self, scope: dict[str, Held | None], nodes: Any, outputs: Sequence[str], opsets: Mapping[str, int],
        *, apart: bool = False,
    ) -> list[Any]:  # fmt: skip
        """Record nodes in a scope of names inside those around it, unless it stands ``apart``."""
        around, before = self._scopes, self.opsets
        self._scopes, self.opsets = [scope] if apart else [*around, scope], opsets
        try:
            for node in nodes:
                self._node(node)
            if apart:  # a function may leave outputs out, which a node may not name then
                return [scope.get(name) for name in outputs]
            return [self.value_of(name, "an output of the graph") for name in outputs]
        finally:
            self._scopes, self.opsets = around, before

    def _node(self, node: Any) -> None:
        self._nodes += 1
        inputs = [self.value_of(n, f"an input of {node.op_type} {node.name!r}") if n else None for n in node.input]
        domain = domain_of(node.domain)
        call = NodeCall(node, self.opsets.get(domain, 0), inputs, self)
        if self._nodes > _MOST_NODES:
            raise call.refusal("loops are unrolled into too many nodes", expected=_MOST_NODES, got="more")
        found = self._run_node(call, domain)
        is_one = isinstance(found, (np.ndarray, Tensor, ValueSequence)) or found is None
        made: list[Any] = [found] if is_one else list(cast("Iterable[Any]", found))
        wanted = [i for i, name in enumerate(node.output) if name]
        if wanted and (wanted[-1] >= len(made) or any(made[i] is None for i in wanted)):
            raise call.refusal("an output that is not done", expected=f"{len(made)} outputs", got=list(node.output))
        self._scopes[-1].update({node.output[i]: made[i] for i in wanted})

    def _run_node(self, call: NodeCall, domain: str) -> Any:
        key = domain, call.name
        if key in self.functions and not is_own(self.functions[key]):
            body = self.functions[key]
            return self._function(call, body, opsets_of(body))
        self._require_types(call)
        if domain == "":
            folded = fold(call)
            if folded is not None:
                return folded
        if key in OPERATORS:
            operator = OPERATORS[key]
            if call.opset < operator.since:
                raise call.refusal("an older opset than is done", expected=f"{operator.since} or newer", got=call.opset)
            return call.record(operator)
        return self._function(call, *self._standard_body(call))

    def _require_types(self, call: NodeCall) -> None:
        """Refuse dtypes that the standard does not give the operator, or that differ where it wants the same."""
        known = formals(call.name, call.opset, call.node.domain)
        bound: dict[str, str] = {}
        for i, value in enumerate(call.inputs if known else ()):
            if value is None or isinstance(value, ValueSequence):
                continue
            formal = known[min(i, len(known) - 1)]
            found = value.dtype if isinstance(value, Tensor) else of_numpy(value.dtype, call.where, complexes=True)
            element = tensor_type(found)
            if formal.allowed and element not in formal.allowed:
                raise self._dtype_refused(call, i, sorted(t[7:-1] for t in formal.allowed), element)
            if formal.same and bound.setdefault(formal.same, element) != element:
                raise self._dtype_refused(call, i, [bound[formal.same][7:-1]], element)

    def _dtype_refused(self, call: NodeCall, i: int, expected: list[str], element: str) -> DTypeError:
        return DTypeError(call.where, f"input {i} has a dtype that the operator does not take there",
                          expected=", ".join(expected), got=element[7:-1],
                          remedy="Put a Cast before it in the model")  # fmt: skip

    def _standard_body(self, call: NodeCall) -> tuple[Any, dict[str, int]]:
        """Return the body that ONNX gives an operator, for the types of these inputs."""
        schema = schema_of(call.name, call.opset, call.node.domain)
        if schema is None or not (schema.has_function or schema.has_context_dependent_function):
            raise call.refusal("an unknown operator", expected="one of docs/guide/models/onnx.md",
                               got=f"domain {call.node.domain or 'ai.onnx'!r}, opset {call.opset}")  # fmt: skip
        if schema.has_function:
            body = schema.function_body
        else:
            types = [self._type(value) for value in call.inputs]
            given = max([v for v in schema.context_dependent_function_opset_versions if v <= call.opset], default=0)
            text = schema.get_context_dependent_function_with_opset_version(
                given, call.node.SerializeToString(), types
            ) if given else b""  # fmt: skip
            if not text:
                raise call.refusal("ONNX has no body for these inputs")
            body = onnx.FunctionProto.FromString(text)
        return body, opsets_of(body)

    def _type(self, value: Held | None) -> bytes:
        if value is None:
            return onnx.TypeProto().SerializeToString()
        if isinstance(value, ValueSequence):
            raise ArgumentError("onnx", "a function of the standard is given a sequence", expected="tensors",
                                got="a sequence", remedy="Export the model without sequences")  # fmt: skip
        if isinstance(value, np.ndarray):
            element = onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
        else:
            element = element_of_dtype(value.dtype)
        return onnx.helper.make_tensor_type_proto(element, value.shape).SerializeToString()

    def _function(self, call: NodeCall, body: Any, opsets: dict[str, int]) -> list[Any]:
        if len(self._scopes) > _DEEPEST or self._nodes > _MOST_NODES:
            raise call.refusal("functions call each other too deeply", expected=_DEEPEST, got="more")
        given = {a.name: a for a in call.node.attribute}
        for attribute in body.attribute_proto:
            given.setdefault(attribute.name, attribute)
        call.unread.clear()
        nodes = [_fill(node, given) for node in body.node]
        inputs = [*call.inputs, *[None] * (len(body.input) - len(call.inputs))]
        scope: dict[str, Held | None] = dict(zip(body.input, inputs, strict=True))
        self._depth(+1, call)
        try:
            return self.within(scope, nodes, list(body.output), {**self.opsets, **opsets}, apart=True)
        finally:
            self._depth(-1, call)

    _deep = 0

    def _depth(self, step: int, call: NodeCall) -> None:
        self._deep += step
        if self._deep > _DEEPEST:
            raise call.refusal("functions call each other too deeply", expected=_DEEPEST, got="more")


def _fill(node: Any, given: Mapping[str, Any]) -> Any:
    """Return a node of a function with the attributes it refers to put in, in its graphs too."""
    if not any(a.ref_attr_name or a.HasField("g") for a in node.attribute):
        return node
    filled = onnx.NodeProto()
    filled.CopyFrom(node)
    del filled.attribute[:]
    for attribute in node.attribute:
        if attribute.ref_attr_name:
            if attribute.ref_attr_name in given:
                filled.attribute.add().CopyFrom(given[attribute.ref_attr_name])
                filled.attribute[-1].name = attribute.name
            continue
        added = filled.attribute.add()
        added.CopyFrom(attribute)
        if attribute.HasField("g"):
            del added.g.node[:]
            added.g.node.extend([_fill(inner, given) for inner in attribute.g.node])
    return filled
