"""LoomTensor: tensors that are written in place, one operation at a time, waited for or not.

Layer: tensor. The interface of the source document (seed 002), in Python: create, fill, copy, sync, gemm, reduce,
contraction, sparse products, streams, handles. Each operation is a compiled program over the storages named, kept by
structure. Operations of a stream happen in order, streams side by side. Invariant: deterministic is the only mode.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from loom.core import options
from loom.core.dtype import DType
from loom.core.errors import ArgumentError, DTypeError, ShapeError
from loom.runtime.chain import Program, Submission
from loom.runtime.chain.program import Timeline
from loom.runtime.device import Device, DeviceInfo, device, devices
from loom.runtime.storage import copy_storage
from loom.tensor.draft import Buffer, Draft
from loom.tensor.graph import Node, ancestors, as_shape
from loom.tensor.lowering import followed, lower, structure
from loom.tensor.memory import plan_memory
from loom.tensor.ops.elementwise import as_dtype, cast
from loom.tensor.ops.products import einsum, matmul
from loom.tensor.ops.reductions import sum_of
from loom.tensor.program import build, stream_of
from loom.tensor.sparse import CSR, spmm
from loom.tensor.tensor import PARAMETER, Tensor, full, host_array

__all__ = ["LoomTensor", "OpHandle", "Stream", "create", "device_query"]


class Stream:
    """Operations given to one stream happen in order."""

    def __init__(self, on: str | Device | None = None) -> None:
        self.device = device(on)
        self.timeline = Timeline()

    def wait(self) -> None:
        """Wait for everything that was given to the stream."""
        self.timeline.settle()


class OpHandle:
    """An operation under way."""

    def __init__(self, submission: Submission | None, keep: Any) -> None:
        self._submission = submission
        self._keep = keep

    @property
    def done(self) -> bool:
        """True when it is over."""
        return self._submission is None or self._submission.done

    def wait(self, timeout: float | None = None) -> None:
        """Wait until it is over; LoomTimeout after ``timeout`` seconds, it then goes on."""
        if self._submission is not None:
            self._submission.wait(timeout)


class LoomTensor(Tensor):
    """A parameter that operations of this module write. Made by ``create``; it is a ``Tensor`` too."""

    __slots__ = ("stream",)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.stream: Timeline | None = None

    def set_stream(self, stream: Stream) -> None:
        """Let operations that write this tensor go to a stream of its device."""
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
        return self.stream or stream_of(self.device)

    def host_elements(self) -> tuple[np.ndarray[Any, Any], DType]:
        """Return a copy as it is stored, and the dtype, after the operations that write it."""
        self.sync()
        return super().host_elements()

    def write(self, values: Any) -> None:
        """Write all elements from the host."""
        self.sync()
        self.assign(values)

    def fill(self, value: float) -> None:
        """Set all elements to a number."""
        self.enqueue(lambda: full(self.shape, value, self.dtype)).wait()

    def copy_from(self, source: Tensor) -> None:
        """Copy the elements of a tensor of the same shape and dtype, of any device."""
        if source.shape != self.shape or source.dtype != self.dtype:
            raise ShapeError("LoomTensor.copy_from", "the tensors differ", expected=f"{self.dtype} of {self.shape}",
                             got=f"{source.dtype} of {source.shape}", remedy="Match them")  # fmt: skip
        data = source.evaluate().data
        assert data is not None
        assert self.data is not None
        copy_storage(data, 0, self.data, 0, self.nbytes)

    # operations

    def enqueue(self, value: Callable[..., Tensor], *operands: Tensor) -> OpHandle:
        """Start ``self = value(*operands)`` and return at once; the operands may be this tensor."""
        result = value(*operands)
        if result.shape != self.shape or result.dtype != self.dtype:
            raise ShapeError(
                "LoomTensor",
                "the result does not fit",
                expected=f"{self.dtype} of {self.shape}",
                got=f"{result.dtype} of {result.shape}",
                remedy="Create the target in its shape",
            )
        assert self.device is not None
        program, keep = _program(self, result, self.device, self.timeline)
        return OpHandle(program.launch(), (program, keep))

    def enqueue_gemm(self, a: Tensor, b: Tensor, *, transpose_a: bool = False, transpose_b: bool = False,
                     alpha: float = 1.0, beta: float = 0.0) -> OpHandle:  # fmt: skip
        """Start ``self = alpha a b + beta self`` (transposed as asked): the product, times alpha, plus beta self."""

        def value(*_: Any) -> Tensor:
            found = matmul(a, b, transpose_a=transpose_a, transpose_b=transpose_b)
            found = found if alpha == 1.0 else found * alpha
            return found if beta == 0.0 else found + self * beta

        return self.enqueue(value, a, b)

    def gemm(self, a: Tensor, b: Tensor, **options: Any) -> None:
        """Do ``enqueue_gemm`` and wait."""
        self.enqueue_gemm(a, b, **options).wait()

    def enqueue_reduce_sum(self, a: Tensor, axis: int) -> OpHandle:
        """Start ``self`` = sums of ``a`` along an axis, in the canonical order."""
        return self.enqueue(lambda _: cast(sum_of(a, axis), self.dtype), a)

    def reduce_sum(self, a: Tensor, axis: int) -> None:
        """Do ``enqueue_reduce_sum`` and wait."""
        self.enqueue_reduce_sum(a, axis).wait()

    def enqueue_contract(self, subscripts: str, *operands: Tensor) -> OpHandle:
        """Start ``self`` = the contraction that ``einsum`` knows by its subscripts."""
        return self.enqueue(lambda *given: einsum(subscripts, *given), *operands)

    def contract(self, subscripts: str, *operands: Tensor) -> None:
        """Do ``enqueue_contract`` and wait."""
        self.enqueue_contract(subscripts, *operands).wait()

    def enqueue_spmm(self, matrix: CSR, dense: Tensor) -> OpHandle:
        """Start ``self`` = sparse matrix times dense."""
        return self.enqueue(lambda d: spmm(matrix, d), dense)

    def spmm(self, matrix: CSR, dense: Tensor) -> None:
        """Do ``enqueue_spmm`` and wait."""
        self.enqueue_spmm(matrix, dense).wait()


def create(shape: Sequence[int], dtype: Any = "f32", *, on: str | Device | None = None, data: Any = None) -> LoomTensor:
    """Return a tensor of zeros, or of ``data``, on a device."""
    wanted, home = as_dtype(dtype, "tensor.create"), device(on)
    if not (wanted.is_float or wanted.is_integer or wanted.is_bool):
        raise DTypeError("tensor.create", "unsupported dtype", expected="numbers", got=wanted, remedy="Choose another")
    made = LoomTensor(PARAMETER, (), as_shape(shape, "tensor.create"), wanted, device=home)
    made.data = home.allocate(made.nbytes)
    if data is not None:
        memory = host_array(data, wanted, "tensor.create")
        if memory.size != made.size:
            raise ShapeError("tensor.create", "the data do not fit", expected=f"{made.size} elements, for {made.shape}",
                             got=memory.shape, remedy="Match the shape")  # fmt: skip
        made.write_elements(memory.reshape(made.shape))
    return made


def device_query() -> list[DeviceInfo]:
    """Return the devices present."""
    return devices()


_MOST_KEPT = 64
_kept: OrderedDict[Any, tuple[Program, Any]] = OrderedDict()
"""Programs by structure and storages, with what they use, so that no storage's place is taken by another."""


def _program(target: LoomTensor, value: Tensor, where: Device, timeline: Timeline) -> tuple[Program, Any]:
    """Return the program of one operation on one target, and what it uses."""
    order = ancestors([value], followed)
    places = [n.data for n in order if n.data is not None]
    settings = options.thread_count(), options.simd_lanes(), options.check_bounds()
    key = (settings, id(timeline), structure(order), tuple(map(id, places)), id(target.data))
    if key in _kept:
        _kept.move_to_end(key)
        return _kept[key]
    sources: dict[int, Buffer] = {}

    def source(node: Node) -> Buffer:
        if id(node) not in sources:
            sources[id(node)] = Buffer(node.nbytes, node.data)
        return sources[id(node)]

    draft = Draft(where)
    lower(draft, (), [(target, value)], source)
    _kept[key] = build(draft, plan_memory(draft), where, "tensor", timeline), (places, target, timeline)
    if len(_kept) > _MOST_KEPT:
        _kept.popitem(last=False)
    return _kept[key]
