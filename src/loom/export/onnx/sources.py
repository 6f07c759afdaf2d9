"""What can be exported to ONNX, as records: networks, programs of tensors, functions of tensors.

Layer: export. A network, or a function whose inputs have named lengths, is recorded for several sizes. Invariant:
recording computes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import field
from typing import Any, cast

from loom import tensor
from loom.core.dtype import dtype_of, f32
from loom.core.errors import ArgumentError, DTypeError
from loom.core.given import is_list, is_mapping, items
from loom.core.late.dataclass import dataclass
from loom.core.numbers import whole
from loom.export.kernel import FrozenKernel
from loom.export.network import FrozenNetwork
from loom.export.onnx.writing.records import GraphRecord, RecordsDiffer, SizedRecord, join_records
from loom.export.onnx.writing.writer import WHERE
from loom.export.program import FrozenFunction, parameters_by_name
from loom.importers.ports import ArrayInfo
from loom.importers.trainable import TrainableGraph
from loom.ir.frontend.decorator import KernelFunction
from loom.nn.integer import IntegerNetwork
from loom.nn.network import Network
from loom.nn.spec.reader import write_network
from loom.onnx.model import OnnxModel
from loom.tensor import QuantizedTensor, Tensor, TensorProgram
from loom.tensor.record.graph import INPUT, ancestors, require_tensor

__all__ = ["OnnxSource", "source_of"]

_SIZES = ((3, 5, 11), (67, 71, 79), (1031, 1033, 1039))
"""Sizes that are recorded for an open length: small ones, then such that every schedule is that of large ones."""
_BATCH, _LENGTH = "batch", "length"
_REMEDIES = {_BATCH: "Pass batch=1", _LENGTH: "Pass length=, the number of tokens"}
_SOURCES = "a network, an imported model, a program or function of tensors, or tensors"
_LEAST_OPEN = 4
"""A length that may be less than this is written as it is at most."""


@dataclass(frozen=True)
class OnnxSource:
    """A program to be written: its record, names of its parameters, and what the file tells besides."""

    name: str
    record: GraphRecord
    parameters: Mapping[int, str]
    weights: Mapping[str, Any]
    """Arrays by name: what the digest is of."""
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    kept: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])
    """Weights that the file holds even where no output needs them."""


def source_of(source: Any, name: str | None, inputs: Any, outputs: Any, batch: Any, length: Any) -> OnnxSource:
    """Return what is exported; ArgumentError for what cannot be, or for settings without an effect."""
    if isinstance(source, FrozenNetwork):
        name, source = name or source.name, source.network
    if isinstance(source, Network):
        _require_none(inputs, "inputs", "a network")
        _require_none(outputs, "outputs", "a network")
        return _network(source, name or source.spec.name or "network", batch, length)
    _require_none(length, "length", "what is no network")
    if isinstance(source, TensorProgram):
        _require_none(inputs, "inputs", "a compiled program")
        _require_none(batch, "batch", "a compiled program")
        made, updates = source.ends
        if updates:
            raise ArgumentError(f"{WHERE}, updates", "ONNX has no state that a run changes", expected="outputs alone",
                                got=f"{len(updates)} updates of parameters",
                                remedy="Compile the new values as outputs, without updates")  # fmt: skip
        return _program(dict(zip(_names(outputs, len(made), _input_names(made)), made, strict=True)), name or "program")
    if isinstance(source, (IntegerNetwork, FrozenFunction, FrozenKernel, KernelFunction)):
        remedy = ("Export the network that it was made of" if isinstance(source, IntegerNetwork)
                  else "Export tensors, or what tensor.compile returned; or to C: loom export --to c")  # fmt: skip
        raise ArgumentError(WHERE, "ONNX cannot say what this computes", expected=_SOURCES, got=type(source).__name__,
                            remedy=remedy)  # fmt: skip
    if isinstance(source, (TrainableGraph, OnnxModel)):
        _require_none(batch, "batch", "an imported model")
        _require_none(outputs, "outputs", "an imported model")
        return _of_model(source, name, inputs)
    if callable(source) and not isinstance(source, (Tensor, Mapping)):
        _require_none(batch, "batch", "a function")
        return _function(source, name, inputs, outputs)
    if not (isinstance(source, Tensor) or is_mapping(source) or is_list(source)):
        raise ArgumentError(WHERE, "nothing that can be exported", expected=_SOURCES,
                            got=type(cast("Any", source)).__name__,
                            remedy="Pass a loom.Network, or tensors")  # fmt: skip
    _require_none(inputs, "inputs", "tensors")
    _require_none(batch, "batch", "tensors")
    return _program(_tensors(source, outputs), name or "program")


def _require_none(given: Any, setting: str, what: str) -> None:
    if given is not None:
        raise ArgumentError(f"{WHERE}, {setting}", f"has no effect with {what}", expected="None", got=repr(given)[:200],
                            remedy="Leave it out")  # fmt: skip


def _names(given: Any, count: int, inputs: Collection[str]) -> list[str]:
    """Return names of outputs: those given, else y, or y0, y1, ..., with _ after those that inputs have."""
    if given is None:
        stem, chosen = "y", list[str]()
        while not chosen or not set(inputs).isdisjoint(chosen):
            chosen = [stem] if count == 1 else [f"{stem}{n}" for n in range(count)]
            stem += "_"
        return chosen
    names = [given] if isinstance(given, str) else list(items(given, f"{WHERE}, outputs", "names"))
    if len(names) != count or len(set(names)) != count or not all(isinstance(n, str) and n for n in names):
        raise ArgumentError(f"{WHERE}, outputs", "not a name for each output", expected=f"{count} names, all different",
                            got=repr(given)[:200], remedy="Name each once")  # fmt: skip
    return names


def _input_names(made: Sequence[Tensor]) -> list[str]:
    return [node.name for node in ancestors(list(made)) if node.op is INPUT]


def _tensors(made: Any, names: Any, taken: Collection[str] = ()) -> dict[str, Tensor]:
    """Return outputs by name; ``taken``: names that inputs have, else of those that they are made of."""
    if is_mapping(made):
        _require_none(names, "outputs", "outputs that have names")
        found = {str(k): v for k, v in made.items()}
    else:
        each = [made] if isinstance(made, Tensor) else list(items(made, WHERE, "tensors"))
        for x in each:
            require_tensor(x, WHERE)
        found = dict(zip(_names(names, len(each), taken or _input_names(each)), each, strict=True))
    for x in found.values():
        require_tensor(x, WHERE)
    if not found or "" in found:
        raise ArgumentError(WHERE, "no outputs, or one without a name", expected="at least 1, each with a name",
                            got=list(found), remedy="Pass {'y': tensor}")  # fmt: skip
    return found


# programs


def _inputs_of(outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for node in ancestors(list(outputs.values())):
        if node.op is INPUT and found.setdefault(node.name, cast("Tensor", node)) is not node:
            raise ArgumentError(WHERE, f"two inputs are called {node.name!r}", expected="a name for each",
                                got=node.name, remedy="Name them differently")  # fmt: skip
    return found


def _require_apart(inputs: Collection[str], outputs: Collection[str]) -> None:
    """Refuse an output that is called as an input is: ONNX has one name for one value."""
    shared = sorted(set(inputs) & set(outputs))
    if shared:
        raise ArgumentError(f"{WHERE}, outputs", "an output is called as an input", expected="other names",
                            got=", ".join(shared), remedy="Rename the output, or the input")  # fmt: skip


def _program(outputs: Mapping[str, Tensor], name: str) -> OnnxSource:
    fed = _inputs_of(outputs)
    _require_apart(fed, outputs)
    record = join_records([SizedRecord(fed, outputs)], {})
    parameters = parameters_by_name(list(outputs.values()))
    return OnnxSource(name, record, {id(p): key for key, p in parameters.items()}, _elements(parameters))


def _elements(parameters: Mapping[str, Tensor]) -> dict[str, Any]:
    return {key: p.host_elements()[0] for key, p in parameters.items()}


def _function(source: Callable[..., Any], name: str | None, inputs: Any, outputs: Any) -> OnnxSource:
    """Return a function of tensors, recorded for several sizes of the lengths that its inputs name."""
    where = f"{WHERE}, inputs"
    if not is_mapping(inputs) or not inputs:
        raise ArgumentError(where, "a function's inputs are not told", expected="name: shape, or (shape, dtype)",
                            got=repr(inputs)[:200], remedy="Pass inputs={'x': ('batch', 3)}")  # fmt: skip
    told = {str(key): _input(value, f"{where}, {key!r}") for key, value in inputs.items()}
    symbols = list(dict.fromkeys(n for shape, _ in told.values() for n in shape if isinstance(n, str)))

    def record(sizes: Mapping[str, int]) -> SizedRecord:
        fed = {
            key: tensor.input(key, tuple(sizes[n] if isinstance(n, str) else n for n in shape), dtype)
            for key, (shape, dtype) in told.items()
        }
        made = _tensors(source(**fed), outputs, fed)
        _require_apart(fed, made)
        return SizedRecord(fed, made)

    record_all = _join(record, symbols)
    parameters = parameters_by_name([cast("Tensor", v.nodes[0]) for v in record_all.outputs.values()])
    called = name or getattr(source, "__name__", "function")
    return OnnxSource(called, record_all, {id(p): key for key, p in parameters.items()}, _elements(parameters))


def _of_model(model: TrainableGraph | OnnxModel, name: str | None, inputs: object) -> OnnxSource:
    """Return what an imported model computes with its weights as they are, as Loom computes it.

    Its inputs are as ``inputs`` tells, else as the model does.
    """
    if inputs is None and any(i.shape is None for i in model.inputs):
        raise ArgumentError(
            f"{WHERE}, inputs",
            "the model does not tell the shape of an input",
            got=None,
            expected="name: shape, or (shape, dtype)",
            remedy=f"Pass inputs={{{model.inputs[0].name!r}: (..)}}",
        )

    def forward(**given: Tensor) -> dict[str, Tensor]:
        made = model.record(given) if isinstance(model, OnnxModel) else model.trace(given)[0]
        return {f"{k}_" if k in given else k: each for k, each in made.items()}

    return _function(forward, name or "model", inputs or _free(model.inputs), None)


def _free(inputs: Sequence[ArrayInfo]) -> dict[str, tuple[tuple[int | str, ...], str]]:
    """Return names -> (shape, dtype), with a name of its own for each length that has none."""
    return {
        i.name: (tuple(f"{i.name}_{k}" if n is None else n for k, n in enumerate(i.shape or ())), i.dtype)
        for i in inputs
    }


def _input(value: Any, where: str) -> tuple[tuple[int | str, ...], Any]:
    """Return shape and dtype of an input."""
    given = list(items(value, where, "lengths"))
    is_pair = len(given) == 2 and isinstance(given[0], (tuple, list))
    lengths, dtype = (list(cast("Any", given[0])), dtype_of(given[1], where)) if is_pair else (given, f32)
    found: list[int | str] = []
    for n in lengths:
        if isinstance(n, str):
            if not n.isidentifier():
                raise ArgumentError(where, "not a name of a length", expected="a name such as batch", got=repr(n),
                                    remedy="Use letters, digits and _")  # fmt: skip
            found.append(n)
        else:
            found.append(whole(n, where, least=0))
    if dtype.is_complex:
        raise DTypeError(where, "ONNX computes with no complex numbers", expected="real numbers", got=dtype,
                         remedy="Pass two real arrays")  # fmt: skip
    return tuple(found), dtype


def _join(
    record: Callable[[Mapping[str, int]], SizedRecord], symbols: Sequence[str], most: Mapping[str, int] | None = None
) -> GraphRecord:  # fmt: skip
    """Return records of several sizes as one; ArgumentError if no sizes give the same operations.

    ``most``: the largest size of a length, which is recorded too.
    """
    limits = most or {}
    if not symbols:
        return join_records([record({})], {})
    differing = ""
    for first, second, third in _SIZES:
        # one length after the other grows, then all: what depends on two of them differs from either
        sizes = {
            s: (limits[s] - 2, limits[s], limits[s] - 1) if s in limits else tuple(n + 2 * i for n in each)
            for i, s in enumerate(symbols) for each in ((first, second, third),)
        }  # fmt: skip
        rows = [{s: sizes[s][0] for s in symbols}]
        rows += [rows[0] | {s: sizes[s][1]} for s in symbols]
        rows.append({s: sizes[s][2] for s in symbols})
        try:
            return join_records([record(row) for row in rows], {s: [row[s] for row in rows] for s in symbols}, limits)
        except RecordsDiffer as error:
            differing = str(error)
    raise ArgumentError(WHERE, f"what is computed depends on {' and '.join(symbols)}: {differing}",
                        expected="the same operations for every size", got="others",
                        remedy=_REMEDIES.get(symbols[-1], "Pass numbers, not names"))  # fmt: skip


# networks


def _network(network: Network, name: str, batch: Any, length: Any) -> OnnxSource:
    """Return a network's forward pass: for any number of samples, or for ``batch`` of them.

    Inputs of variable length may have any up to their most, or have ``length``.
    """
    model = network.model
    sizes = {} if batch is None else {_BATCH: whole(batch, f"{WHERE}, batch", least=1)}
    longest = min((i.shape[0] for i in network.spec.inputs if i.variable_length), default=0)
    if length is not None:
        if not longest:
            _require_none(length, "length", "a network without inputs of variable length")
        sizes[_LENGTH] = whole(length, f"{WHERE}, length", least=1, most=longest)
    elif 0 < longest < _LEAST_OPEN:
        sizes[_LENGTH] = longest
    symbols = [s for s in (_BATCH, *([_LENGTH] if longest else [])) if s not in sizes]
    record = _join(lambda row: _forward(network, {**sizes, **row}), symbols, {_LENGTH: longest})
    held: dict[str, Any] = model.parameters | model.state
    plain = {k: p for k, p in held.items() if isinstance(p, Tensor)}
    parts = ((k, p) for k, p in held.items() if isinstance(p, QuantizedTensor))
    blocks = {f"{k}.{part}": getattr(p, part) for k, p in parts for part in ("words", "scales")}
    weights = {k: p.host_elements()[0] for k, p in (plain | blocks).items()}
    metadata = {"loom_document": json.dumps(write_network(network.spec), sort_keys=True, separators=(",", ":"))}
    if blocks:
        metadata = {}
    return OnnxSource(name, record, {id(p): k for k, p in plain.items()}, weights, metadata, plain)


def _forward(network: Network, sizes: Mapping[str, int]) -> SizedRecord:
    model = network.model
    shapes = {i.name: (sizes[_LENGTH], *i.shape[1:]) if i.variable_length else i.shape for i in network.spec.inputs}
    inputs = {i.name: tensor.input(i.name, (sizes[_BATCH], *shapes[i.name]), i.dtype) for i in network.spec.inputs}
    updates, taps, watch = model.state_updates, dict[str, Any](), model.taps
    made = model.apply_all(inputs, taps=taps)
    model.state_updates, model.taps = updates, watch  # those of a training, and of who watches, stay
    layers = {id(pair[1]): key for key, pair in taps.items()}
    return SizedRecord(inputs, made, layers)
