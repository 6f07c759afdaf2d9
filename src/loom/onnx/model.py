"""``load`` and ``OnnxModel``: a model that runs, compiled for each shape of its inputs.

Layer: onnx. Invariant: the same inputs give the same bits on every device, whatever was run before.
"""

from __future__ import annotations

import hashlib
import os
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from loom.core.errors import ArgumentError, DTypeError, ShapeError
from loom.onnx.reading import ReadModel, read_model
from loom.onnx.recording import GraphRecording
from loom.onnx.values import Value, ValuesNeeded, dtype_of_element, numpy_of_element
from loom.runtime.registry import device as device_of
from loom.tensor.program import TensorProgram
from loom.tensor.program import compile as compile_program
from loom.tensor.tensor import Tensor, array
from loom.tensor.tensor import input as tensor_input

__all__ = ["OnnxModel", "ValueInfo", "load"]

_MOST_PROGRAMS = 32
"""Compiled programs that a model keeps."""


@dataclass(frozen=True)
class ValueInfo:
    """An input or output: its name, dtype, and shape (a length, a name of a length, or None), None if unknown."""

    name: str
    dtype: str
    shape: tuple[int | str | None, ...] | None


@dataclass
class _Compiled:
    program: TensorProgram | None
    fed: dict[str, str]
    results: list[np.ndarray[Any, Any] | int]


def load(source: str | os.PathLike[str] | bytes | Any, *, on: Any = None) -> OnnxModel:
    """Return the model of an ONNX file, its bytes, or a ``ModelProto``, to run on a device.

    FileError: it cannot be read, is cut off or malformed, or has data outside its folder. ArgumentError: operators
    that are not done, by domain, name and opset. DTypeError: a dtype that Loom has not.
    """
    import loom.onnx.operators  # pyright: ignore[reportUnusedImport] - enters the operators  # noqa: F401

    return OnnxModel(read_model(source), None if on is None else device_of(on))


class OnnxModel:
    """A model of ONNX. ``inputs`` and ``outputs`` say what it takes and gives; ``run`` computes.

    Lengths may differ from run to run: a program is compiled for each set of shapes, and the latest are kept. Inputs
    whose values decide shapes (``specialised``) are compiled in: another value is another program.
    """

    def __init__(self, read: ReadModel, device: Any) -> None:
        self._read, self._device = read, device
        graph = read.graph
        arrays = read.initializers(graph)
        self._arrays: dict[Any, Any] = {id(a): (a, array(a, on=device)) for a in arrays.values()}
        self._defaults = {name: a for name, a in arrays.items() if name in {i.name for i in graph.input}}
        self.inputs = tuple(_info(i) for i in graph.input if i.name not in arrays)
        self.outputs = tuple(_info(o) for o in graph.output)
        self._optional = {i.name: _info(i) for i in graph.input if i.name in arrays}
        self._specialised: frozenset[str] = frozenset()
        self._programs: OrderedDict[Any, _Compiled] = OrderedDict()

    @property
    def opsets(self) -> dict[str, int]:
        """The version of each domain's operators."""
        return dict(self._read.opsets)

    @property
    def specialised(self) -> frozenset[str]:
        """Inputs whose values were needed to record the graph: each new value of them is compiled anew."""
        return self._specialised

    def run(self, inputs: Mapping[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
        """Return the outputs by name, for arrays by the names of the inputs.

        ArgumentError: names that the model has not, or that are missing. DTypeError, ShapeError: another kind of array.
        """
        given = self._given(inputs)
        key = self._key(given)
        found = self._programs.get(key)
        if found is None:
            found = self._compiled(given)
            self._programs[self._key(given)] = found
            if len(self._programs) > _MOST_PROGRAMS:
                self._free(self._programs.popitem(last=False)[1])
        else:
            self._programs.move_to_end(key)
        results: list[np.ndarray[Any, Any]] = []
        if found.program is not None:
            found.program.run(**{fed: given[name] for name, fed in found.fed.items()})
            results = found.program.read()
        made = [results[r] if isinstance(r, int) else r.copy() for r in found.results]
        return {info.name: value for info, value in zip(self.outputs, made, strict=True)}

    def _given(self, inputs: Mapping[str, Any]) -> dict[str, np.ndarray[Any, Any]]:
        known = {i.name: i for i in self.inputs}
        names = known | self._optional
        where = "onnx.run"
        unknown, missing = sorted(set(inputs) - set(names)), sorted(set(known) - set(inputs))
        if unknown or missing:
            raise ArgumentError(where, "not the inputs of the model", expected=", ".join(sorted(known)) or "none",
                                got=", ".join(sorted(map(str, inputs))) or "none",
                                remedy=f"Pass {', '.join(missing)}" if missing else "Leave the others out")  # fmt: skip
        found = {name: _array(value, names[name], where) for name, value in inputs.items()}
        _check_lengths(found, names, where)
        return {**self._defaults, **found}

    def _key(self, given: Mapping[str, np.ndarray[Any, Any]]) -> Any:
        return tuple(
            (name, a.shape, hashlib.sha256(a.tobytes()).digest() if name in self._specialised else b"")
            for name, a in sorted(given.items()) if self._defaults.get(name) is not a
        )  # fmt: skip

    def _compiled(self, given: Mapping[str, np.ndarray[Any, Any]]) -> _Compiled:
        while True:
            try:
                return self._recorded(given)
            except ValuesNeeded as needed:
                fed = {f"i{i}": name for i, name in enumerate(sorted(given))}
                more = {fed[name] for name in needed.names} - self._specialised
                if not more:
                    raise AssertionError("the values were given") from None
                self._specialised |= more

    def _recorded(self, given: Mapping[str, np.ndarray[Any, Any]]) -> _Compiled:
        read = self._read
        recording = GraphRecording(
            read.opsets, read.functions, self._device, self._arrays, read.initializers, read.array
        )
        scope: dict[str, Value | None] = dict(read.initializers(read.graph))
        fed: dict[str, str] = {}
        for i, (name, value) in enumerate(sorted(given.items())):
            if self._defaults.get(name) is value:
                continue
            if name in self._specialised:
                scope[name] = value
            else:
                info = next(v for v in read.graph.input if v.name == name)
                dtype = dtype_of_element(info.type.tensor_type.elem_type, f"onnx, input {name!r}")
                fed[name] = f"i{i}"
                scope[name] = tensor_input(f"i{i}", value.shape, dtype)
        made = recording.within(scope, read.graph.node, [o.name for o in read.graph.output], read.opsets)
        ends: list[Tensor] = []
        results: list[np.ndarray[Any, Any] | int] = []
        for value in made:
            if isinstance(value, np.ndarray):
                results.append(cast("np.ndarray[Any, Any]", value))
            else:
                results.append(len(ends))
                ends.append(value)
        program = compile_program(ends, on=self._device, name="onnx") if ends else None
        used = set(program.inputs) if program is not None else set[str]()
        return _Compiled(program, {name: f for name, f in fed.items() if f in used}, results)

    def _free(self, compiled: _Compiled) -> None:
        if compiled.program is not None:
            compiled.program.free()


def _info(value: Any) -> ValueInfo:
    kind = value.type.WhichOneof("value")
    where = f"onnx, {value.name!r}"
    if kind != "tensor_type":
        raise DTypeError(where, "Loom has no such type", expected="a tensor", got=kind or "none",
                         remedy="Export the model without sequences, maps and optional values")  # fmt: skip
    tensor = value.type.tensor_type
    shape = tuple(_length(d) for d in tensor.shape.dim) if tensor.HasField("shape") else None
    return ValueInfo(value.name, dtype_of_element(tensor.elem_type, where).name, shape)


def _length(dimension: Any) -> int | str | None:
    if dimension.HasField("dim_value"):
        return int(dimension.dim_value)
    return dimension.dim_param or None


def _array(value: Any, info: ValueInfo, where: str) -> np.ndarray[Any, Any]:
    found = value.numpy() if isinstance(value, Tensor) else np.asarray(value)
    from loom.core.dtype import lookup
    from loom.onnx.values import element_of_dtype

    wanted = numpy_of_element(element_of_dtype(lookup(info.dtype)), where)
    if found.dtype != wanted:
        raise DTypeError(where, f"{info.name!r} has another dtype", expected=wanted, got=found.dtype,
                         remedy=f"Pass array.astype({str(wanted)!r})")  # fmt: skip
    if info.shape is not None and found.ndim != len(info.shape):
        raise ShapeError(where, f"{info.name!r} has another shape", expected=info.shape, got=found.shape,
                         remedy="Reshape it")  # fmt: skip
    return found


def _check_lengths(found: Mapping[str, np.ndarray[Any, Any]], names: Mapping[str, ValueInfo], where: str) -> None:
    """Refuse lengths that the model fixes otherwise, and one name that has two lengths."""
    lengths: dict[str, int] = {}
    for name, a in found.items():
        for n, wanted in zip(a.shape, names[name].shape or (), strict=False):
            expected = lengths.setdefault(wanted, n) if isinstance(wanted, str) else wanted
            if expected is not None and expected != n:
                raise ShapeError(where, f"{name!r} has another shape", expected=names[name].shape, got=a.shape,
                                 remedy=f"Lengths called {wanted!r} are {expected}")  # fmt: skip
