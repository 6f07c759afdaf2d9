"""LoomTensor: tensors that are written in place, one operation at a time, waited for or not.

Layer: tensor. The interface of the source document (seed 002), in Python: create, fill, copy, sync, gemm, reduce,
contraction, sparse products, streams, handles. Each operation is a compiled program over the storages named, kept by
structure. Operations of a stream happen in order, streams side by side. Invariant: deterministic is the only mode.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any

import numpy as np

from loom.core.arrays import read_as
from loom.core.dtype import DType, dtype_of
from loom.core.errors import ArgumentError, DTypeError, ShapeError, StateError
from loom.core.numbers import real
from loom.core.tracebacks import brief_class
from loom.runtime.chain import Submission
from loom.runtime.chain.kept import Kept, keep
from loom.runtime.chain.timeline import Timeline
from loom.runtime.memory.order import touching
from loom.runtime.memory.storage import copy_storage
from loom.runtime.port.device import Device, DeviceInfo
from loom.runtime.registry import device, devices
from loom.tensor.arrays.tensor import Tensor
from loom.tensor.creation.creation import full
from loom.tensor.ops.contraction import einsum
from loom.tensor.ops.elementwise import cast
from loom.tensor.ops.products import matmul
from loom.tensor.ops.reductions import sum_of
from loom.tensor.record.graph import PARAMETER, as_shape, refuse_freed, require_tensor
from loom.tensor.record.timelines import timeline_of
from loom.tensor.record.versions import before_writing, record_lock
from loom.tensor.run.eager import Work, prepare, work_of
from loom.tensor.sparse import CSR, spmm

__all__ = ["LoomTensor", "OpHandle", "Stream", "create", "device_query"]


@brief_class
class Stream:
    """Operations given to one stream happen in order."""

    def __init__(self, on: str | Device | None = None) -> None:
        self.device = device(on)
        self.timeline = Timeline()

    def wait(self) -> None:
        """Wait for everything that was given to the stream."""
        self.timeline.settle()


@brief_class
class OpHandle:
    """An operation under way."""

    def __init__(self, submission: Submission) -> None:
        self._submission = submission

    @property
    def done(self) -> bool:
        """True when it is over."""
        return self._submission.done

    def wait(self, timeout: float | None = None) -> None:
        """Wait until it is over; LoomTimeout after ``timeout`` seconds, it then goes on."""
        self._submission.wait(timeout)


@brief_class
class LoomTensor(Tensor):
    """A parameter that operations of this module write. Made by ``create``; it is a ``Tensor`` too."""

    __slots__ = ("stream",)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.stream: Timeline | None = None

    def set_stream(self, stream: Stream) -> None:
        """Let operations that write this tensor go to a stream of its device."""
        if not isinstance(stream, Stream):
            raise ArgumentError("LoomTensor.set_stream", "not a stream", expected="a tensor.Stream", got=repr(stream),
                                remedy="Make one with tensor.Stream(device)")  # fmt: skip
        if stream.device is not self.device:
            raise ArgumentError("LoomTensor.set_stream", "the stream is of another device", expected=self.device,
                                got=stream.device, remedy="Make a Stream on the tensor's device")  # fmt: skip
        self.sync()
        self.stream = stream.timeline

    def sync(self) -> None:
        """Wait for the operations that write this tensor."""
        self.timeline.settle()

    @property
    def timeline(self) -> Timeline:
        """Where its operations are in order."""
        assert self.device is not None
        return self.stream or timeline_of(self.device)

    def host_elements(self) -> tuple[np.ndarray[Any, Any], DType]:
        """Return a copy as it is stored, and the dtype, after the operations that write it."""
        self.sync()
        return super().host_elements()

    def write(self, values: Any) -> None:
        """Write all elements from the host."""
        self._require_own("write")
        self.assign(values)

    def fill(self, value: float) -> None:
        """Set all elements to a number."""
        self._do(lambda: full(self.shape, value, self.dtype), (), "fill")

    def copy_from(self, source: Tensor) -> None:
        """Copy the elements of a tensor of the same shape and dtype, of any device."""
        require_tensor(source, "LoomTensor.copy_from")
        if source.shape != self.shape or source.dtype != self.dtype:
            raise ShapeError("LoomTensor.copy_from", "the tensors differ", expected=f"{self.dtype} of {self.shape}",
                             got=f"{source.dtype} of {source.shape}", remedy="Match them")  # fmt: skip
        self._require_own("copy_from")
        data = source.evaluate().data
        assert data is not None
        assert self.data is not None
        with before_writing([self]):
            copy_storage(data, 0, self.data, 0, self.nbytes)

    def free(self) -> None:
        """Give up its memory, after the operations on it; it cannot be used any more. Again does nothing.

        What was recorded of it before keeps its elements.
        """
        if self.op.is_written and self.data is not None:
            with before_writing([self]), touching(writes=(self.data,)):
                self.data = None

    def _require_own(self, what: str) -> None:
        """See that there is memory of its own to write; StateError for the results of operations."""
        if not self.op.is_written:
            raise StateError(
                f"LoomTensor.{what}", "only a tensor made by tensor.create can be written",
                expected="a tensor of tensor.create", got=f"the result of {self.op.name!r}, which stays as it is",
                remedy="Create a tensor of this shape, and fill or copy_from that",
            )  # fmt: skip
        if self.data is None:
            raise refuse_freed(f"LoomTensor.{what}", self)

    # operations

    def enqueue(self, value: Callable[..., Tensor], *operands: Tensor) -> OpHandle:
        """Start ``self = value(*operands)`` and return at once; the operands may be this tensor.

        ``value`` is called while no other thread records or writes: it waits for none of them.
        """
        started = self._start(value, operands, "enqueue")
        assert started is not None
        return OpHandle(started)

    def _do(self, value: Callable[..., Tensor], operands: Sequence[Tensor], where: str) -> None:
        """Do ``self = value(*operands)``, and wait."""
        started = self._start(value, operands, where, wait=True)
        if started is not None:
            started.wait()

    def _start(
        self, value: Callable[..., Tensor], operands: Sequence[Tensor], where: str, *, wait: bool = False
    ) -> Submission | None:
        """Start ``self = value(*operands)``; None if it is over, which it may be with ``wait``."""
        self._require_own(where)
        if not callable(value):
            raise ArgumentError(f"LoomTensor.{where}", "not a function", expected="a function of tensors",
                                got=repr(value), remedy="Pass for example lambda a: a * 2.0")  # fmt: skip
        for x in operands:
            require_tensor(x, f"LoomTensor.{where}")
        home = self.device
        assert home is not None
        with record_lock():  # nobody writes an operand between its being recorded and the start
            result = value(*operands)
            require_tensor(result, f"LoomTensor.{where}, what the function returned")
            self._require_like(result)
            data = self.data
            assert data is not None
            key, work = work_of([result], home, data)
            program = _program(key, work, result, self, home)
            memory = work.sources if any(s is data for s in work.sources) else [*work.sources, data]
            del result  # what is recorded only for this needs no copy of the old elements
            with before_writing([self]):
                return program.launch(memory, work.words, self.timeline, wait=wait)

    def _require_like(self, result: Tensor) -> None:
        """Raise unless a result has this tensor's shape and dtype."""
        if result.shape != self.shape or result.dtype != self.dtype:
            raise ShapeError(
                "LoomTensor",
                "the result does not fit",
                expected=f"{self.dtype} of {self.shape}",
                got=f"{result.dtype} of {result.shape}",
                remedy="Create the target in its shape",
            )

    def enqueue_gemm(self, a: Tensor, b: Tensor, *, transpose_a: bool = False, transpose_b: bool = False,
                     alpha: float = 1.0, beta: float = 0.0) -> OpHandle:  # fmt: skip
        """Start ``self = alpha a b + beta self`` (transposed as asked): the product, times alpha, plus beta self."""
        return self.enqueue(self._product(transpose_a, transpose_b, alpha, beta), a, b)

    def gemm(self, a: Tensor, b: Tensor, *, transpose_a: bool = False, transpose_b: bool = False,
             alpha: float = 1.0, beta: float = 0.0) -> None:  # fmt: skip
        """Do ``enqueue_gemm`` and wait."""
        self._do(self._product(transpose_a, transpose_b, alpha, beta), (a, b), "gemm")

    def _product(self, transpose_a: bool, transpose_b: bool, alpha: float, beta: float) -> Callable[..., Tensor]:
        alpha, beta = real(alpha, "LoomTensor.gemm, alpha"), real(beta, "LoomTensor.gemm, beta")

        def value(a: Tensor, b: Tensor) -> Tensor:
            found = matmul(a, b, transpose_a=transpose_a, transpose_b=transpose_b)
            found = found if alpha == 1.0 else found * alpha
            return found if beta == 0.0 else found + self * beta

        return value

    def _sum(self, axis: int) -> Callable[..., Tensor]:
        def value(a: Tensor) -> Tensor:
            return cast(sum_of(a, axis), self.dtype)

        return value

    def enqueue_reduce_sum(self, a: Tensor, axis: int) -> OpHandle:
        """Start ``self`` = sums of ``a`` along an axis, in the canonical order."""
        return self.enqueue(self._sum(axis), a)

    def reduce_sum(self, a: Tensor, axis: int) -> None:
        """Do ``enqueue_reduce_sum`` and wait."""
        self._do(self._sum(axis), (a,), "reduce_sum")

    def enqueue_contract(self, subscripts: str, *operands: Tensor) -> OpHandle:
        """Start ``self`` = the contraction that ``einsum`` knows by its subscripts."""
        return self.enqueue(lambda *given: einsum(subscripts, *given), *operands)

    def contract(self, subscripts: str, *operands: Tensor) -> None:
        """Do ``enqueue_contract`` and wait."""
        self._do(lambda *given: einsum(subscripts, *given), operands, "contract")

    def enqueue_spmm(self, matrix: CSR, dense: Tensor) -> OpHandle:
        """Start ``self`` = sparse matrix times dense."""
        return self.enqueue(partial(spmm, matrix), dense)

    def spmm(self, matrix: CSR, dense: Tensor) -> None:
        """Do ``enqueue_spmm`` and wait."""
        self._do(partial(spmm, matrix), (dense,), "spmm")


def create(shape: Sequence[int], dtype: Any = "f32", *, on: str | Device | None = None, data: Any = None) -> LoomTensor:
    """Return a tensor of zeros, or of ``data``, on a device.

    Args:
        shape: Lengths of the axes, or one length.
        dtype: Dtype.
        on: Device, or its name; None: the default device.
        data: Numbers of the shape; None: zeros.

    Raises:
        DTypeError: There is no such dtype; not a device; the elements are no numbers; the dtype is not supported.
        ShapeError: The data do not fit; not a shape; too many elements.
    """
    wanted, home = dtype_of(dtype, "tensor.create"), device(on)
    if not (wanted.is_float or wanted.is_integer or wanted.is_bool):
        raise DTypeError("tensor.create", "unsupported dtype", expected="numbers", got=wanted, remedy="Choose another")
    made = LoomTensor(PARAMETER, (), as_shape(shape, "tensor.create"), wanted, device=home)
    made.data = home.allocate(made.nbytes)
    if data is not None:
        memory = read_as(data, wanted, "tensor.create")
        if memory.size != made.size:
            raise ShapeError("tensor.create", "the data do not fit", expected=f"{made.size} elements, for {made.shape}",
                             got=memory.shape, remedy="Match the shape")  # fmt: skip
        made.write_elements(memory.reshape(made.shape))
    return made


def device_query() -> list[DeviceInfo]:
    """Return the devices present."""
    return devices()


_MOST_SIDE_BY_SIDE = 4
"""Runs of one kept program's structure that may be under way; another one waits."""


def _program(key: Hashable, work: Work, wanted: Tensor, target: LoomTensor, where: Device) -> Kept:
    """Return a program of one operation on one target that no run is using, if there is room for one."""
    found: Kept | None = None
    for number in range(_MOST_SIDE_BY_SIDE):
        found = keep((key, number), where, lambda: prepare(work, [wanted], where, target))
        if not found.is_busy:
            break
    assert found is not None
    return found
