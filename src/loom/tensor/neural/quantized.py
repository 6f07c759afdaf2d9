"""Weights that stay whole numbers of 4 or 8 bits: products with them, rows of them.

Layer: tensor. A ``QuantizedTensor`` is the transposed right operand of a product: rows are output features, blocks lie
along the input. ``compute``: "exact" gives the bits of a product by the f32 weights that the blocks stand for; "q8" and
"q12" make whole numbers of x as well (docs/numerics.md, section 2). Invariant: no f32 matrix of them is ever made.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from loom.core.arrays import Array, read_as
from loom.core.dtype import DType, dtype_of, f32, i32, u32
from loom.core.errors import ArgumentError, DTypeError, LoomError, ShapeError, StateError
from loom.core.given import one_of
from loom.core.late import late
from loom.core.late.dataclass import dataclass
from loom.kernels.maps.nest import number
from loom.kernels.quantized.blocks import ENCODINGS, QUANTISERS, dequantise, quantise
from loom.kernels.quantized.forms import FILLED, LANES, BlockForm, pack_blocks, unpack_blocks
from loom.runtime.port.device import Device
from loom.runtime.registry import device as find_device
from loom.tensor.arrays.tensor import Tensor, array
from loom.tensor.ops.joining import fill
from loom.tensor.ops.views import reshape
from loom.tensor.record.draft import BufferView, Draft
from loom.tensor.record.graph import Node, NodeKind, TensorOp, as_shape, make, require_tensor
from loom.tensor.record.vjps import derivative

if TYPE_CHECKING:
    from loom.schedules import quantized as schedule
    from loom.tensor.creation import creation
    from loom.tensor.ops import indexing, products
else:
    schedule, creation, indexing, products = late(
        "loom", "schedules.quantized tensor.creation.creation tensor.ops.indexing tensor.ops.products"
    )

__all__ = ["COMPUTES", "QuantizedTensor", "multiply_table", "multiply_weights", "quantize", "take_rows"]

COMPUTES = ("exact", "q8", "q12")
"""How products with quantised weights may be computed."""


def _record_activations(node: Node, draft: Draft, operands: Sequence[BufferView], out: Any) -> None:
    compute, block = node.attributes
    if node.size:
        m, k = node.inputs[0].shape
        schedule.record_activations(draft, operands[0].buffer, out, m, k, block, compute)


def _record_product(node: Node, draft: Draft, operands: Sequence[BufferView], out: Any) -> None:
    form, k, compute = node.attributes
    m, n = node.shape
    if node.size == 0:
        return
    if k == 0:
        fill(draft, out, node.size, number(0, f32))
        return
    what = schedule.QuantizedProduct(m, n, k, form, compute)
    words, scales, x = (o.buffer for o in operands)
    schedule.record_quantized(draft, words, scales, x, out, what)


def _record_rows(node: Node, draft: Draft, operands: Sequence[BufferView], out: Any) -> None:
    form, n = node.attributes
    count, k = node.shape
    if node.size:
        words, scales, at = (o.buffer for o in operands)
        schedule.record_quantized_rows(draft, words, scales, at, out, count, n, k, form)


ACTIVATIONS = TensorOp("whole_activations", NodeKind.KERNEL, record=_record_activations)
PRODUCT = TensorOp("quantized_product", NodeKind.KERNEL, record=_record_product)
ROWS = TensorOp("quantized_rows", NodeKind.KERNEL, record=_record_rows)


@derivative(PRODUCT)
def _vjp(node: Any, g: Any) -> list[Any]:
    """Give x the product by the dequantised weights, in canonical order; what is stored has no gradient."""
    form, _, compute = node.attributes
    words, scales, _ = node.inputs
    if compute != "exact":
        raise ArgumentError("tensor.grad", f"a product computed as {compute!r} has no gradient", expected="'exact'",
                            got=repr(compute), remedy="Take weights.computed('exact')")  # fmt: skip
    n = node.shape[1]
    every = make(ROWS, [words, scales, creation.arange(n, dtype=u32)], (n, node.attributes[1]), f32, (form, n))
    return [None, _no_gradient(), products.matmul(g, every)]


@derivative(ROWS)
def _rows_vjp(node: Any, g: Any) -> list[Any]:
    del node, g
    return [None, _no_gradient(), None]


def _no_gradient() -> LoomError:
    """Return what is raised where a gradient by the scales of blocks is asked for."""
    return ArgumentError("tensor.grad", "the scales of quantised weights have no gradient",
                         expected="tensors of floats", got="scales of a QuantizedTensor",
                         remedy="Train tensor.array(w.dequantized()), or adapters beside them")  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class QuantizedTensor:
    """A matrix (n, k) of weights in blocks along k: whole numbers of 4 or 8 bits, a scale and perhaps a minimum each.

    ``words`` and ``scales`` lie as ``form`` says; ``encoding``: what it was made of, "Q4_1" or "q4_1" for instance.
    ``compute``: how a product with it is computed, "exact", "q8" or "q12". Made by ``quantize`` and ``from_blocks``.

    >>> from loom import tensor
    >>> w = tensor.quantize(np.eye(32, dtype="float32"), "q8_0")
    >>> w.shape, w.encoding, float(tensor.multiply_weights(tensor.ones((1, 32)), w).sum())
    ((32, 32), 'q8_0', 31.998046875)
    """

    words: Tensor
    scales: Tensor
    form: BlockForm
    shape: tuple[int, int]
    encoding: str
    compute: str = "exact"

    instead: ClassVar[str] = (
        "Multiply by it with tensor.multiply_weights, or make f32 of it: tensor.array(w.dequantized())"
    )
    """What errors tell those who pass it where a tensor is taken."""

    def __post_init__(self) -> None:
        """See that words and scales are those of the shape: ArgumentError, ShapeError or DTypeError."""
        one_of(self.compute, "QuantizedTensor, compute", COMPUTES)
        n, k = _matrix_shape(self.shape, self.form.block)
        tiles, blocks = -(-n // LANES), k // self.form.block
        for what, held, dtype, each in (
            ("words", self.words, i32, self.form.words), ("scales", self.scales, self.form.scale, self.form.parts),
        ):  # fmt: skip
            require_tensor(held, f"QuantizedTensor, {what}")
            expected = (tiles, blocks, each, LANES)
            if held.shape != expected or held.dtype != dtype:
                kind = ShapeError if held.shape != expected else DTypeError
                raise kind(f"QuantizedTensor, {what}", f"they are not those of {n} x {k}",
                           got=f"{held.dtype} {held.shape}", expected=f"{dtype} {expected}",
                           remedy="Make it with quantize or QuantizedTensor.from_blocks")  # fmt: skip
        self._require_rows(n)

    def _require_rows(self, n: int) -> None:
        """See that the last tile has so many rows: what fills it up has scales of 0 and the words ``FILLED``."""
        if n % LANES == 0:
            return
        words, scales = self.words[-1].numpy(), self.scales[-1].numpy()
        own = ((words != FILLED).any((0, 1)) | (scales != 0).any((0, 1))).nonzero()[0]
        rows = int(own.max(initial=-1)) + 1
        if rows != n % LANES:
            raise ShapeError("QuantizedTensor, shape", "it has another number of rows than words and scales",
                             expected=n - n % LANES + rows, got=n,
                             remedy="Make it with quantize or QuantizedTensor.from_blocks")  # fmt: skip

    def __repr__(self) -> str:
        return f"QuantizedTensor(shape={self.shape}, encoding={self.encoding!r}, compute={self.compute!r})"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """Refuse, as numpy would multiply by something else than ``multiply_weights`` does: StateError."""
        del dtype, copy
        return self.host_elements()[0]

    @classmethod
    def from_blocks(
        cls, data: Any, encoding: str, shape: Sequence[int], *, compute: str = "exact", on: str | Device | None = None
    ) -> QuantizedTensor:
        """Return the weights that GGUF's blocks hold, repacked without loss.

        ``data``: the bytes; ``encoding``: GGUF's name, "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K";
        ``shape``: (output features, input features). ArgumentError for another encoding, DTypeError for what is no
        bytes, ShapeError if rows are not whole blocks or the bytes are too many or too few.
        """
        known = ENCODINGS[one_of(encoding, "QuantizedTensor, encoding", ENCODINGS)]
        one_of(compute, "QuantizedTensor, compute", COMPUTES)
        n, k = _matrix_shape(shape, known.elements)
        raw, wanted = _bytes_of(data), n * (k // known.elements) * known.nbytes
        if raw.size != wanted:
            raise ShapeError("QuantizedTensor, data", "the bytes do not fit the shape", got=f"{raw.size} bytes",
                             expected=f"{wanted} for {n} x {k} of {encoding}",
                             remedy="Pass the whole tensor's bytes")  # fmt: skip
        codes, scales, minima = known.read(raw.reshape(-1, known.nbytes))
        held = [None if p is None else p.reshape(n, k // known.form.block) for p in (scales, minima)]
        assert held[0] is not None
        return _pack(known.form, codes.reshape(n, k), held[0], held[1], encoding, compute, on)

    @property
    def nbytes(self) -> int:
        """Bytes on the device."""
        return self.words.nbytes + self.scales.nbytes

    @property
    def ndim(self) -> int:
        """Number of axes: 2."""
        return 2

    @property
    def size(self) -> int:
        """Number of weights."""
        return self.shape[0] * self.shape[1]

    @property
    def dtype(self) -> DType:
        """The type of what it is multiplied by, and of products."""
        return f32

    @property
    def device(self) -> Device | None:
        """Where it is."""
        return self.words.device

    def computed(self, compute: str) -> QuantizedTensor:
        """Return the same weights, multiplied in another way; ArgumentError for one that is none of ``COMPUTES``."""
        return replace(self, compute=one_of(compute, "QuantizedTensor, compute", COMPUTES))

    def to(self, device: str | Device) -> QuantizedTensor:
        """Return the same weights on another device, itself if they are there."""
        home = find_device(device)
        if home is self.device:
            return self
        words, scales = (array(held.host_elements()[0], held.dtype, on=home) for held in (self.words, self.scales))
        return replace(self, words=words, scales=scales)

    def astype(self, dtype: Any) -> QuantizedTensor:
        """Return itself; DTypeError for another type than f32."""
        if dtype_of(dtype, "QuantizedTensor.astype") != f32:
            raise DTypeError("QuantizedTensor.astype", "quantised weights multiply f32", expected=f32, got=dtype,
                             remedy="Compute in f32")  # fmt: skip
        return self

    def host_elements(self) -> tuple[Array, DType]:
        """Refuse, as whoever asks for a network's weights by name would get them turned: StateError."""
        raise StateError("QuantizedTensor", "the weights are kept quantised", expected="weights of f32",
                         got=self.encoding,
                         remedy="Load the model with weights='f32', or take dequantized() of the matrix")  # fmt: skip

    def dequantized(self) -> Array:
        """Return the f32 weights (n, k) that the blocks stand for, on the host."""
        codes, scales, minima = unpack_blocks(self.form, self.words.numpy(), self.scales.numpy(), self.shape[0])
        return dequantise(self.form, codes, scales, minima)


def _bytes_of(data: Any) -> Array:
    try:
        return np.frombuffer(memoryview(data).cast("B"), np.uint8)
    except (TypeError, ValueError):
        raise DTypeError("QuantizedTensor, data", "no bytes", expected="bytes that follow each other",
                         got=type(data).__name__, remedy="Pass what the file holds") from None  # fmt: skip


def _matrix_shape(shape: Sequence[int], block: int) -> tuple[int, int]:
    found = as_shape(shape, "QuantizedTensor, shape")
    if len(found) != 2 or found[1] % block or 0 in found:
        raise ShapeError("QuantizedTensor, shape", "rows are not whole blocks", got=found,
                         expected=f"(output features, input features), the last a multiple of {block}, none 0",
                         remedy="Keep such a matrix as f32")  # fmt: skip
    return found[0], found[1]


def _pack(
    form: BlockForm, codes: Array, scales: Array, minima: Array | None, encoding: str, compute: str, on: Any
) -> QuantizedTensor:
    words, held = pack_blocks(form, codes, scales, minima)
    made = QuantizedTensor(array(words, i32, on=on), array(held, form.scale, on=on), form, codes.shape, encoding)
    return made.computed(compute)


def quantize(weights: Any, encoding: str, *, compute: str = "exact", on: str | Device | None = None) -> QuantizedTensor:
    """Return f32 weights (output features, input features) as blocks of 32: "q4_0", "q4_1" or "q8_0".

    Rounded as ggml's reference does. ArgumentError for another encoding and for weights that are not finite or whose
    scale f16 has not, ShapeError if rows are not whole blocks.

    Args:
        weights: Tensor or array (output features, input features) of f32.
        encoding: "q4_0", "q4_1" or "q8_0".
        compute: "exact" or "q8": how products are computed.
        on: Device, or its name; None: the default device.

    Raises:
        ArgumentError: There is no such option; not all of them are finite; a scale is beyond f16.
        DTypeError: Not a device; the elements are no numbers.
        ShapeError: Rows are not whole blocks.
    """
    encoding = one_of(encoding, "quantize, encoding", QUANTISERS)
    one_of(compute, "quantize, compute", COMPUTES)
    found = read_as(weights, f32, "quantize, weights")
    _matrix_shape(found.shape, 32)
    if not np.isfinite(found).all():
        raise ArgumentError("quantize, weights", "not all of them are finite", expected="finite numbers",
                            got="infinities or NaN", remedy="Keep such a matrix as f32")  # fmt: skip
    codes, scales, minima = quantise(found, encoding)
    if not all(np.isfinite(p).all() for p in (scales, minima) if p is not None):
        raise ArgumentError("quantize, weights", "a scale is beyond f16", expected="weights up to about 65504",
                            got=float(np.abs(found).max()), remedy="Keep such a matrix as f32")  # fmt: skip
    return _pack(ENCODINGS[encoding.upper()].form, codes, scales, minima, encoding, compute, on)


def multiply_weights(x: Tensor, weights: Tensor | QuantizedTensor) -> Tensor:
    """Return x (.., k) times weights: a tensor (k, n), or quantised ones (n, k), which are turned. Shape (.., n).

    Of quantised weights x is f32. DTypeError and ShapeError for what does not fit.

    Args:
        x: Tensor (.., input features).
        weights: Quantised weights.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: Quantised weights multiply f32.
        ShapeError: The inner dimensions differ.
    """
    if not isinstance(weights, QuantizedTensor):
        return products.matmul(x, weights)
    require_tensor(x, "multiply_weights")
    n, k = weights.shape
    if x.dtype != f32:
        raise DTypeError("multiply_weights", "quantised weights multiply f32", expected=f32, got=x.dtype,
                         remedy="Convert with astype")  # fmt: skip
    if not x.ndim or x.shape[-1] != k:
        raise ShapeError("multiply_weights", "the inner dimensions differ", expected=f"(.., {k})", got=x.shape,
                         remedy="The last axis is the input features")  # fmt: skip
    m = math.prod(x.shape[:-1])
    rows = reshape(x, (m, k))
    if weights.compute != "exact":
        block = weights.form.block
        size = schedule.activation_words(m, k, block, weights.compute)
        rows = make(ACTIVATIONS, [rows], (size,), i32, (weights.compute, block))
    inputs = [weights.words, weights.scales, rows]
    found = make(PRODUCT, inputs, (m, n), f32, (weights.form, k, weights.compute))
    return reshape(found, (*x.shape[:-1], n))


def multiply_table(x: Tensor, table: Tensor | QuantizedTensor) -> Tensor:
    """Return x (.., k) times the rows of a table (n, k), quantised or not: shape (.., n)."""
    return (
        multiply_weights(x, table)
        if isinstance(table, QuantizedTensor)
        else products.matmul(x, table, transpose_b=True)
    )


def take_rows(table: Tensor | QuantizedTensor, indices: Tensor) -> Tensor:
    """Return rows of a table by indices, as ``tensor.gather``; of quantised weights dequantised, f32.

    Args:
        table: Tensor (rows, ..).
        indices: Tensor of integers of any shape.

    Raises:
        ArgumentError: An operand is no tensor.
        DTypeError: Indices are no integers.
    """
    if not isinstance(table, QuantizedTensor):
        return indexing.gather(table, indices)
    n, k = table.shape
    at = indexing.positions_of(indices, "take_rows", n)
    inputs = [table.words, table.scales, reshape(at, (at.size,))]
    found = make(ROWS, inputs, (at.size, k), f32, (table.form, n))
    return reshape(found, (*at.shape, k))
