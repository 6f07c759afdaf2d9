"""Writes a graph of ONNX: values by name, constants once, lengths that are computed.

Layer: export. Invariant: what is written depends on the record and the opset alone, so that the same model gives the
same bytes; an operator, or its dtype, that the opset lacks is refused by name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from loom.core.dtype import DType, bool_, i64, of_numpy
from loom.core.errors import ArgumentError, DTypeError
from loom.core.optional import load
from loom.export.onnx.writing.lengths import Length, Size, formula_of
from loom.export.onnx.writing.records import GraphRecord, OpenNumber, RecordedValue
from loom.kernels.maps.nest import Number
from loom.onnx.functions import BODIES, DOMAIN, function_proto
from loom.onnx.operatorschemas import (
    first_opset,
    has_attribute,
    newest_opset,
    operator_types,
    schema_of,
    tensor_type,
)
from loom.onnx.values import element_of_dtype, onnx

__all__ = ["GraphWriter", "Initializer", "ValueAsked"]

WHERE = "loom.export.onnx"


class ValueAsked(Exception):
    """An emitter asks for a value that is not written yet; it is asked again after that."""

    def __init__(self, value: RecordedValue) -> None:
        super().__init__(value.op.name)
        self.value = value


class Initializer:
    """An initializer: its dtype, shape and bytes."""

    __slots__ = ("data", "dtype", "shape")

    def __init__(self, dtype: DType, shape: tuple[int, ...], data: bytes) -> None:
        self.dtype, self.shape, self.data = dtype, shape, data


class GraphWriter:
    """A graph as it is written. ``nodes``: protos in order; ``arrays``: initializers by name; ``functions``: names."""

    def __init__(self, record: GraphRecord, opset: int) -> None:
        self.record, self.opset = record, opset
        self.nodes: list[Any] = []
        self.arrays: dict[str, Initializer] = {}
        self.functions: dict[str, None] = {}
        self.dtypes: dict[str, DType] = {}
        self._names: dict[int, str] = {}
        self._values: list[RecordedValue] = []
        self._taken = {*record.inputs, *record.outputs}
        self._contents: dict[Any, str] = {}
        self._serial = 0

    # names

    def name(self, wanted: str) -> str:
        """Return a name that nothing has."""
        found, number = wanted, 1
        while not found or found in self._taken:
            found, number = f"{wanted}_{number}", number + 1
        self._taken.add(found)
        return found

    def put(self, value: RecordedValue, name: str) -> None:
        """Note what a value is called."""
        self._names[id(value)] = name
        self._values.append(value)  # so that no other has its id
        self.dtypes[name] = value.dtype

    def use(self, value: RecordedValue) -> str:
        """Return the name of a value; ``ValueAsked`` if it is not written yet."""
        found = self._names.get(id(value))
        if found is None:
            raise ValueAsked(value)
        return found

    def is_written(self, value: RecordedValue) -> bool:
        """Return whether a value has a name."""
        return id(value) in self._names

    @property
    def values(self) -> Sequence[RecordedValue]:
        """What was written, in order."""
        return self._values

    def mark(self) -> tuple[int, int]:
        """Return where the file is, to come ``back_to``."""
        return len(self.nodes), self._serial

    def back_to(self, mark: tuple[int, int]) -> None:
        """Take nodes off that were written since."""
        for node in self.nodes[mark[0] :]:
            self._taken.difference_update(node.output)
        del self.nodes[mark[0] :]
        self._serial = mark[1]

    def identity(self, name: str, output: str) -> None:
        """Write a value once more, as an output of this name."""
        self.nodes.append(onnx.helper.make_node("Identity", [name], [output], name=output))

    def rename(self, names: Mapping[str, str]) -> None:
        """Give values of nodes other names."""
        for node in self.nodes:
            node.input[:] = [names.get(n, n) for n in node.input]
            node.output[:] = [names.get(n, n) for n in node.output]
            node.name = names.get(node.name, node.name)

    # nodes

    def node(
        self, kind: str, inputs: Sequence[str], dtype: DType | None = None, *, domain: str = "", hint: str = "",
        **attributes: Any,
    ) -> str:  # fmt: skip
        """Write a node of one output, of the dtype of its first input if none is told, and return its name."""
        types = [self.dtypes[n] for n in inputs if n]
        self._check(kind, types, domain, [self.dtypes.get(n) for n in inputs])
        self._check_attributes(kind, domain, attributes)
        self._serial += 1
        name = self.name(hint or f"v{self._serial}")
        given = dict(sorted(attributes.items()))
        self.nodes.append(onnx.helper.make_node(kind, list(inputs), [name], name=name, domain=domain, **given))
        self.dtypes[name] = types[0] if dtype is None else dtype
        return name

    def pair(self, kind: str, inputs: Sequence[str], dtypes: tuple[DType, DType], **attributes: Any) -> list[str]:
        """Write a node of two outputs, and return their names; one that nobody takes has none in the file."""
        self._check(kind, [self.dtypes[n] for n in inputs], "", [self.dtypes[n] for n in inputs])
        self._serial += 1
        names = [self.name(f"v{self._serial}_{i}") for i in range(2)]
        given = dict(sorted(attributes.items()))
        self.nodes.append(onnx.helper.make_node(kind, list(inputs), names, name=f"v{self._serial}", **given))
        self.dtypes.update(zip(names, dtypes, strict=True))
        return names

    def own(self, kind: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Write a call of a function of the domain ``loom``."""
        assert kind in BODIES
        function_proto(kind, self.opset)
        self.functions[kind] = None
        return self.node(kind, inputs, domain=DOMAIN, **attributes)

    def _check(self, kind: str, types: Sequence[DType], domain: str, by_place: Sequence[DType | None]) -> None:
        if domain:
            if any(not t.is_float for t in types):
                raise DTypeError(WHERE, f"function {kind!r} is of floats", expected="floats", got=types[0],
                                 remedy="Convert with astype")  # fmt: skip
            return
        schema = schema_of(kind, self.opset)
        if schema is None:
            first = first_opset(kind)
            raise ArgumentError(
                WHERE, f"opset {self.opset} has no operator {kind}", got=f"opset={self.opset}",
                expected=f"opset {first} or newer" if first else "an operator of ONNX",
                remedy=f"Pass opset={first} or newer" if first else f"Leave {kind} out",
            )  # fmt: skip
        for i, dtype in enumerate(by_place):
            allowed = operator_types(kind, self.opset, i)
            if dtype is not None and allowed and tensor_type(dtype) not in allowed:
                newest = operator_types(kind, newest_opset(), i)
                remedy = "Pass a newer opset" if tensor_type(dtype) in newest else "Convert with astype"
                raise DTypeError(WHERE, f"ONNX's {kind} does not take {dtype} in opset {self.opset}",
                                 expected=", ".join(sorted(t[7:-1] for t in allowed)), got=dtype,
                                 remedy=remedy)  # fmt: skip

    def _check_attributes(self, kind: str, domain: str, attributes: Mapping[str, Any]) -> None:
        for attribute in attributes:
            if not domain and not has_attribute(kind, self.opset, attribute):
                known = range(1, newest_opset() + 1)
                first = next((n for n in known if has_attribute(kind, n, attribute)), newest_opset())
                raise ArgumentError(WHERE, f"opset {self.opset} has no {attribute} of {kind}", got=self.opset,
                                    expected=f"opset {first} or newer",
                                    remedy=f"Pass opset={first} or newer")  # fmt: skip

    def cast(self, name: str, dtype: DType) -> str:
        """Return a value in another dtype."""
        if self.dtypes[name] == dtype:
            return name
        return self.node("Cast", [name], dtype, to=element_of_dtype(dtype))

    # constants

    def constant(self, values: Any, dtype: DType | None = None) -> str:
        """Return the name of an initializer; equal ones are one."""
        array = np.asarray(values)
        kind = of_numpy(array.dtype, WHERE) if dtype is None else dtype
        return self.initializer(Initializer(kind, array.shape, np.ascontiguousarray(array).tobytes()), "")

    def whole(self, *values: int) -> str:
        """Return the name of a vector of i64."""
        return self.constant(np.array(values, np.int64))

    def number(self, value: Number | OpenNumber, dtype: DType | None = None) -> str:
        """Return the name of a constant of no dimension, rounded to its dtype; or of an open length as one."""
        if isinstance(value, OpenNumber):
            scalar = self.node("Reshape", [self._length(value.length), self.whole()])
            return self.cast(scalar, value.dtype if dtype is None else dtype)
        kind = value.dtype if dtype is None else dtype
        if kind.name == "bf16":
            rounded = np.array(value.value, np.float32).astype(load("ml_dtypes", WHERE).bfloat16)
            return self.initializer(Initializer(kind, (), rounded.tobytes()), "")
        with np.errstate(over="ignore"):
            return self.constant(np.array(value.value).astype(kind.numpy), kind)

    def initializer(self, array: Initializer, wanted: str) -> str:
        """Return the name of an initializer, ``wanted`` if it may have that; without one equal ones are one."""
        key = (array.dtype, array.shape, hashlib.sha256(array.data).digest())
        if not wanted and key in self._contents:
            return self._contents[key]
        name = self.name(wanted or f"c{len(self._contents)}")
        self.arrays[name] = array
        self.dtypes[name] = array.dtype
        if not wanted:
            self._contents[key] = name
        return name

    # lengths

    def sizes(self, shape: Sequence[Size]) -> str:
        """Return the name of a vector of i64 with these lengths."""
        if not any(isinstance(n, Length) for n in shape):
            return self.whole(*(n for n in shape if isinstance(n, int)))
        parts: list[str] = []
        known: list[int] = []
        for n in shape:
            if isinstance(n, Length):
                parts += [self.whole(*known)] if known else []
                known = []
                parts.append(self._length(n))
            else:
                known.append(n)
        parts += [self.whole(*known)] if known else []
        return parts[0] if len(parts) == 1 else self.node("Concat", parts, axis=0)

    def _length(self, size: Length) -> str:
        """Return the name of a vector of one length."""
        found = formula_of(size, self.record.named)
        if found is None:
            raise ArgumentError(WHERE, "a length follows from the open ones in no way that is written",
                                expected=f"a multiple of {', '.join(self.record.named)}, and a number",
                                got=f"{size.values} for {dict(self.record.named)}",
                                remedy="Export it for fixed sizes")  # fmt: skip
        name = ""
        for each in found.names:
            own = self._length_vector(each)
            name = self.node("Mul", [name, own]) if name else own
        name = name if found.factor == 1 else self.node("Mul", [name, self.whole(found.factor)])
        return name if not found.more else self.node("Add", [name, self.whole(found.more)])

    def _length_vector(self, name: str) -> str:
        """Return the name of a vector of one named length, read from an input that has it."""
        values = self.record.named[name]
        for key, value in self.record.inputs.items():
            for axis, n in enumerate(value.shape):
                if isinstance(n, Length) and n.values == values:
                    return self.node("Shape", [key], i64, start=axis, end=axis + 1)
        raise AssertionError(f"no input has the length {name}")

    def reshape(self, name: str, shape: Sequence[Size]) -> str:
        """Return a value in another shape; one open length is told by the others."""
        opened = [i for i, n in enumerate(shape) if isinstance(n, Length)]
        if len(opened) == 1 and 0 not in shape:
            return self.node("Reshape", [name, self.whole(*(-1 if isinstance(n, Length) else n for n in shape))])
        if 0 in shape:
            return self.node("Reshape", [name, self.sizes(shape)], allowzero=1)
        return self.node("Reshape", [name, self.sizes(shape)])

    def expand(self, name: str, shape: Sequence[Size]) -> str:
        """Return a value repeated to a shape."""
        return self.node("Expand", [name, self.sizes(shape)])

    def transpose(self, name: str, order: Sequence[int]) -> str:
        """Return a value with its axes in another order."""
        return name if list(order) == list(range(len(order))) else self.node("Transpose", [name], perm=list(order))

    def where_false(self, name: str) -> str:
        """Return the complement of bools."""
        return self.node("Not", [name], bool_)
