"""Operators that make tensors: numbers everywhere, counts, grids.

Layer: pytorch. Invariant: what has no numbers told (``empty``) is zeros.
"""

from __future__ import annotations

import numpy as np

from loom import tensor as lt
from loom.core.dtype import lookup
from loom.importers.signals import BLACKMAN, HANN, cosine_window
from loom.pytorch.registry import Made, OpCall, operator
from loom.tensor.arrays.tensor import Tensor

__all__: list[str] = []

_NUMBERS = {"zeros": 0, "ones": 1, "empty": 0}


@operator("zeros", "ones", "empty", "full", "new_zeros", "new_ones", "new_empty", "new_full", "empty_permuted",
          "new_empty_strided", "empty_strided", ignores=("self", "physical_layout", "stride", "names"))  # fmt: skip
def _full(call: OpCall) -> Made:
    kind = call.base.removeprefix("new_").split("_")[0]
    value = call.value("fill_value") if kind == "full" else _NUMBERS[kind]
    return call.full(call.integers("size"), value, call.out)


@operator("zeros_like", "ones_like", "empty_like", "full_like")
def _like(call: OpCall, x: Tensor) -> Made:
    kind = call.base.split("_")[0]
    value = call.value("fill_value") if kind == "full" else _NUMBERS[kind]
    return call.full(x.shape, value, call.out)


@operator("fill")
def _fill(call: OpCall, x: Tensor) -> Made:
    value = call.value("value")
    if isinstance(value, lt.Tensor):
        return lt.broadcast_to(lt.cast(value, x.dtype), x.shape)
    return call.full(x.shape, value, x.dtype)


@operator("scalar_tensor")
def _scalar(call: OpCall) -> Made:
    return call.full((), call.value("s"), call.out)


@operator("arange")
def _arange(call: OpCall) -> Made:
    start, end, step = call.value("start", 0), call.value("end"), call.value("step", 1)
    if call.out.is_integer:
        return lt.arange(int(start), int(end), int(step), dtype=call.out, on=call.scope.device)
    return lt.cast(call.array(np.arange(start, end, step, dtype=np.float64)), call.out)


@operator("linspace")
def _linspace(call: OpCall) -> Made:
    found = lt.linspace(call.real("start"), call.real("end"), call.integer("steps"), dtype="f64", on=call.scope.device)
    return lt.cast(found, call.out)


@operator("eye")
def _eye(call: OpCall) -> Made:
    rows = call.integer("n")
    found = np.eye(rows, call.integer("m", rows) if call.has("m") else rows)
    return lt.cast(call.array(found), call.out) if not call.out.is_bool else call.array(found != 0)


@operator("tril_indices", "triu_indices")
def _triangle_indices(call: OpCall) -> Made:
    find = np.tril_indices if call.base[:4] == "tril" else np.triu_indices
    return lt.cast(
        call.array(np.stack(find(call.integer("row"), call.integer("offset", 0), call.integer("col")))), call.out
    )


@operator("one_hot")
def _one_hot(call: OpCall, x: Tensor) -> Made:
    classes = call.integer("num_classes", -1)
    if classes < 0:
        raise call.refusal("the number of classes is not told", expected="num_classes=", got=classes)
    return lt.one_hot(call.limit(x, classes), classes, lookup("i64"))


@operator("hann_window", "hamming_window", "blackman_window")
def _window(call: OpCall) -> Made:
    size, periodic = call.integer("window_length"), call.flag("periodic", True)
    if size == 1:  # the formulas do not hold there
        return call.full((1,), 1, call.out)
    terms = {"hann": HANN, "hamming": (0.54, 0.46, 0.0), "blackman": BLACKMAN}[call.base.split("_")[0]]
    return cosine_window(call, size, terms, call.out, periodic=periodic)


# lengths and numbers of tensors


@operator("sym_size", "size")
def _size(call: OpCall, x: Tensor) -> Made:
    return x.shape[call.axis("dim", x.ndim)]


@operator("sym_numel", "numel")
def _numel(x: Tensor) -> Made:
    return x.size


@operator("_local_scalar_dense", "item")
def _item(call: OpCall, x: Tensor) -> Made:
    return call.number_of(x, "self")
