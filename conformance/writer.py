"""Writes kernels for conformance cases: the Builder with Python's operators, and nothing between.

A ``Value`` stands for an operation; numbers become constants of the other operand's type. What is
written here goes neither through the Python front end nor through the text form, so a conformance case
fails only for what it is about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Union

from loom.core.dtype import DType, u32
from loom.ir.builder import Builder
from loom.ir.kernel import Access, If, Instr, Kernel, LaneOrder, Loc, Memory, Variable

__all__ = ["Array", "Local", "Number", "Value", "Writer"]

Number = Union["Value", int, float, bool]


class Value:
    """The result of an operation."""

    def __init__(self, writer: Writer, instr: Instr) -> None:
        self.writer = writer
        self.instr = instr

    @property
    def dtype(self) -> DType:
        """Its type."""
        return self.instr.type

    def to(self, dtype: DType) -> Value:
        """Convert to ``dtype``."""
        return self.writer.op("convert", self, dtype=dtype)

    def bits(self, dtype: DType) -> Value:
        """Read the bits as ``dtype``."""
        return self.writer.op("bitcast", self, dtype=dtype)

    def component(self, number: int) -> Value:
        """Take one component of a short vector."""
        return Value(self.writer, self.writer.b.emit("extract", self.instr, attr=number))

    def _left(self, name: str, other: Number) -> Value:
        return self.writer.op(name, self, other)

    def __add__(self, other: Number) -> Value:
        return self._left("add", other)

    def __radd__(self, other: Number) -> Value:
        return self.writer.op("add", other, self)

    def __sub__(self, other: Number) -> Value:
        return self._left("sub", other)

    def __rsub__(self, other: Number) -> Value:
        return self.writer.op("sub", other, self)

    def __mul__(self, other: Number) -> Value:
        return self._left("mul", other)

    def __truediv__(self, other: Number) -> Value:
        return self._left("div", other)

    def __floordiv__(self, other: Number) -> Value:
        return self._left("idiv", other)

    def __mod__(self, other: Number) -> Value:
        return self._left("irem", other)

    def __and__(self, other: Number) -> Value:
        return self._left("and", other)

    def __or__(self, other: Number) -> Value:
        return self._left("or", other)

    def __xor__(self, other: Number) -> Value:
        return self._left("xor", other)

    def __lshift__(self, other: Number) -> Value:
        return self._left("shl", other)

    def __rshift__(self, other: Number) -> Value:
        return self._left("shr", other)

    def __invert__(self) -> Value:
        return self.writer.op("not", self)

    def __neg__(self) -> Value:
        return self.writer.op("neg", self)

    def __eq__(self, other: object) -> Value:  # type: ignore[override]
        return self._left("eq", other)  # type: ignore[arg-type]

    def __ne__(self, other: object) -> Value:  # type: ignore[override]
        return self._left("ne", other)  # type: ignore[arg-type]

    def __lt__(self, other: Number) -> Value:
        return self._left("lt", other)

    def __le__(self, other: Number) -> Value:
        return self._left("le", other)

    def __gt__(self, other: Number) -> Value:
        return self._left("gt", other)

    def __ge__(self, other: Number) -> Value:
        return self._left("ge", other)

    __hash__ = None  # type: ignore[assignment]


class Array:
    """A memory: ``a[i]`` loads, ``a[i] = v`` stores."""

    def __init__(self, writer: Writer, memory: Memory) -> None:
        self.writer = writer
        self.memory = memory

    def __getitem__(self, index: Number) -> Value:
        return self.writer.emit("load", self.writer.value(index, u32), memory=self.memory)

    def __setitem__(self, index: Number, value: Number) -> None:
        stored = self.writer.value(value, self.memory.dtype)
        self.writer.emit("store", self.writer.value(index, u32), stored, memory=self.memory)

    def atomic(self, name: str, index: Number, *values: Number) -> Value:
        """Do ``atomic_<name>``; gives the old value."""
        operands = [self.writer.value(v, self.memory.dtype) for v in values]
        return self.writer.emit(f"atomic_{name}", self.writer.value(index, u32), *operands, memory=self.memory)

    @property
    def length(self) -> Value:
        """Its number of elements."""
        return self.writer.emit("length", memory=self.memory)


class Local:
    """A mutable local of each lane."""

    def __init__(self, writer: Writer, variable: Variable) -> None:
        self.writer = writer
        self.variable = variable

    @property
    def now(self) -> Value:
        """Its value."""
        return self.writer.emit("get", attr=self.variable)

    def set(self, value: Number) -> None:
        """Assign it."""
        self.writer.emit("set", self.writer.value(value, self.variable.dtype), attr=self.variable)


class Writer:
    """Writes one kernel; ``finish`` gives it."""

    def __init__(self, name: str, workgroup: tuple[int, int, int] = (64, 1, 1)) -> None:
        self.b = Builder(name, workgroup)
        self._line = 0
        self._last_if: If | None = None

    def finish(self, order: LaneOrder = LaneOrder.PROVED) -> Kernel:
        """Return the kernel."""
        return self.b.finish(order=order)

    # declarations

    def read(self, name: str, dtype: DType) -> Array:
        """Declare a buffer that is only read."""
        return Array(self, self.b.buffer(name, dtype, Access.READ))

    def buffer(self, name: str, dtype: DType) -> Array:
        """Declare a buffer that may be read and written."""
        return Array(self, self.b.buffer(name, dtype))

    def shared(self, name: str, dtype: DType, size: int) -> Array:
        """Declare an array of the workgroup."""
        return Array(self, self.b.shared(name, dtype, size))

    def private(self, name: str, dtype: DType, size: int) -> Array:
        """Declare an array of the lane."""
        return Array(self, self.b.private(name, dtype, size))

    def param(self, name: str, dtype: DType) -> Value:
        """Declare a parameter and read it."""
        return self.emit("param", attr=self.b.param(name, dtype))

    def local(self, name: str, dtype: DType, value: Number | None = None) -> Local:
        """Declare a variable and assign it."""
        local = Local(self, self.b.variable(name, dtype))
        if value is not None:
            local.set(value)
        return local

    # operations

    def value(self, given: Number, dtype: DType) -> Value:
        """Return ``given``, a number as a constant of ``dtype``."""
        return given if isinstance(given, Value) else Value(self, self.b.const(given, dtype))

    def emit(self, name: str, *args: Value, attr: Any = None, memory: Memory | None = None) -> Value:
        """Append an operation; every one stands on a line of its own."""
        self._step()
        return Value(self, self.b.emit(name, *(a.instr for a in args), attr=attr, memory=memory))

    def op(self, name: str, *args: Number, dtype: DType | None = None) -> Value:
        """Append a pure operation."""
        self._step()
        like = next(a.dtype for a in reversed(args) if isinstance(a, Value))
        values = [self.value(a, like) for a in args]
        return Value(self, self.b.emit(name, *(v.instr for v in values), dtype=dtype))

    def select(self, condition: Value, a: Number, b: Number) -> Value:
        """``condition ? a : b``; at least one of the two is no plain number."""
        like = next(x.dtype for x in (a, b) if isinstance(x, Value))
        return self.op("select", condition, self.value(a, like), self.value(b, like))

    def vector(self, dtype: DType, *parts: Value) -> Value:
        """Make a short vector of its components."""
        return Value(self, self.b.emit("vector", *(p.instr for p in parts), dtype=dtype))

    def const(self, number: float | int | bool, dtype: DType) -> Value:
        """Return a constant."""
        return Value(self, self.b.const(number, dtype))

    def global_id(self, dimension: int = 0) -> Value:
        return self.emit("global_id", attr=dimension)

    def local_id(self, dimension: int = 0) -> Value:
        return self.emit("local_id", attr=dimension)

    def group_id(self, dimension: int = 0) -> Value:
        return self.emit("group_id", attr=dimension)

    def num_groups(self, dimension: int = 0) -> Value:
        return self.emit("num_groups", attr=dimension)

    def local_index(self) -> Value:
        """Number of the lane in its workgroup, x fastest."""
        x, y, _ = self.b.workgroup
        return (self.local_id(2) * y + self.local_id(1)) * x + self.local_id(0)

    def global_index(self) -> Value:
        """Number of the lane in the dispatch, group after group."""
        group = self.group_id(2) * self.num_groups(1) + self.group_id(1)
        group = group * self.num_groups(0) + self.group_id(0)
        lanes = self.b.workgroup[0] * self.b.workgroup[1] * self.b.workgroup[2]
        return group * lanes + self.local_index()

    def barrier(self) -> None:
        self.emit("barrier")

    def print(self, *pieces: str | Value) -> None:
        """Print text and values in turn, text first and last."""
        self._message("print", [], pieces)

    def check(self, condition: Value, *pieces: str | Value) -> None:
        """Assert a condition."""
        self._message("assert", [condition], pieces)

    def _message(self, name: str, first: list[Value], pieces: tuple[str | Value, ...]) -> None:
        values = [p for p in pieces if isinstance(p, Value)]
        text = tuple(p for p in pieces if isinstance(p, str))
        self.emit(name, *first, *values, attr=text)

    # structure

    @contextmanager
    def when(self, condition: Value) -> Iterator[None]:
        """``if condition:``."""
        self._step()
        branch = self.b.if_(condition.instr)
        with self.b.into(branch.then):
            yield
        self._last_if = branch

    @contextmanager
    def otherwise(self) -> Iterator[None]:
        """``else:`` of the ``when`` just closed."""
        assert self._last_if is not None
        with self.b.into(self._last_if.otherwise):
            yield

    @contextmanager
    def count(self, start: Number, stop: Number, step: Number = 1, *, dtype: DType = u32) -> Iterator[Value]:
        """``for i in range(start, stop, step):`` counting up."""
        yield from self._for(start, stop, step, dtype, down=False)

    @contextmanager
    def count_down(self, start: Number, stop: Number, step: Number, *, dtype: DType) -> Iterator[Value]:
        """The same counting down; ``step`` is below 0."""
        yield from self._for(start, stop, step, dtype, down=True)

    def _for(self, start: Number, stop: Number, step: Number, dtype: DType, *, down: bool) -> Iterator[Value]:
        self._step()
        values = [self.value(n, dtype).instr for n in (start, stop, step)]
        loop = self.b.for_(*values, down=down)
        with self.b.into(loop.body):
            yield Value(self, loop.index)

    @contextmanager
    def repeat_while(self, condition: Callable[[], Value]) -> Iterator[None]:
        """``while condition():``, the condition written anew before each turn."""
        self._step()
        loop = self.b.while_()
        with self.b.into(loop.test):
            loop.condition = condition().instr
        with self.b.into(loop.body):
            yield

    def break_(self) -> None:
        self.b.break_()

    def continue_(self) -> None:
        self.b.continue_()

    def return_(self) -> None:
        self.b.return_()

    def _step(self) -> None:
        self._line += 1
        self.b.loc = Loc("case.py", self._line)
