"""Tensors on devices: operations recorded, differentiated, fused, and run as programs. Layer: tensor.

    from loom import tensor
    w = tensor.parameter(numpy.zeros((784, 10), "float32"))
    x = tensor.input("x", (64, 784))
    loss = ...
    (g,) = tensor.grad(loss, [w])
    step = tensor.compile([loss], [(w, w - g * 0.1)])
    step.run(x=batch)

Invariant: recording runs nothing, and the bits of what a program computes are the same on every device.
"""

from loom.tensor import linalg
from loom.tensor.autodiff import checkpoint, grad
from loom.tensor.complexes.functions import angle, complex, conj, imag, real, view_as_complex, view_as_real  # noqa: A004
from loom.tensor.convolution import average_pool, convolve, max_pool
from loom.tensor.functions import (
    binary_cross_entropy,
    clip,
    cross_entropy,
    gelu,
    huber,
    layer_norm,
    leaky_relu,
    log_softmax,
    mae,
    maximum,
    minimum,
    mse,
    nll,
    one_hot,
    relu,
    rms_norm,
    sigmoid,
    silu,
    softmax,
    softplus,
    tanh,
)
from loom.tensor.linalg.products import matrix_transpose, tensordot, vecdot
from loom.tensor.loomtensor import LoomTensor, OpHandle, Stream, create, device_query
from loom.tensor.ops.elementwise import MAPS, cast, where
from loom.tensor.ops.indexing import sum_by_index
from loom.tensor.ops.joining import concat, pad, place, split, stack
from loom.tensor.ops.products import einsum, matmul
from loom.tensor.ops.reductions import argmax_of as argmax
from loom.tensor.ops.reductions import argmin_of as argmin
from loom.tensor.ops.reductions import variance_of as variance
from loom.tensor.ops.views import (
    broadcast_to,
    detach,
    expand_dims,
    flatten,
    permute,
    reshape,
    reverse,
    routed,
    squeeze,
    transpose,
    windows,
)
from loom.tensor.program import TensorProgram, compile  # noqa: A004 - tensor.compile
from loom.tensor.selecting.ordering import argsort, kthvalue, median, quantile, sort, topk
from loom.tensor.selecting.scanning import (
    cummax,
    cummin,
    cumprod,
    cumsum,
    cumulative_prod,
    cumulative_sum,
    diff,
    logcumsumexp,
)
from loom.tensor.selecting.scattering import (
    index_add,
    index_copy,
    index_fill,
    index_put,
    masked_fill,
    put_along_axis,
    scatter,
    scatter_add,
    scatter_reduce,
)
from loom.tensor.selecting.searching import bincount, bucketize, count_nonzero, histogram, searchsorted
from loom.tensor.selecting.sized import (
    argwhere,
    flatnonzero,
    masked_select,
    nonzero,
    unique,
    unique_all,
    unique_counts,
    unique_inverse,
    unique_values,
)
from loom.tensor.selecting.taking import gather, index_select, take, take_along_axis
from loom.tensor.sparse import CSR, csr, spmm
from loom.tensor.tensor import Tensor, arange, array, full, input, ones, parameter, zeros  # noqa: A004

__all__ = [
    "CSR", "OPERATIONS", "LoomTensor", "OpHandle", "Stream", "Tensor", "TensorProgram", "angle", "arange", "argmax",
    "argmin", "argsort", "argwhere", "array", "average_pool", "binary_cross_entropy", "bincount", "broadcast_to",
    "bucketize", "cast", "checkpoint", "clip", "compile", "complex", "concat", "conj", "convolve", "count_nonzero",
    "create", "cross_entropy", "csr", "cummax", "cummin", "cumprod", "cumsum", "cumulative_prod", "cumulative_sum",
    "detach", "device_query", "diff", "einsum", "expand_dims", "flatnonzero", "flatten", "full", "gather", "gelu",
    "grad", "histogram", "huber", "imag", "index_add", "index_copy", "index_fill", "index_put", "index_select",
    "input", "kthvalue", "layer_norm", "leaky_relu", "linalg", "log_softmax", "logcumsumexp", "mae", "masked_fill",
    "masked_select", "matmul", "matrix_transpose", "max_pool", "maximum", "median", "minimum", "mse", "nll",
    "nonzero", "one_hot", "ones", "pad", "parameter", "permute", "place", "put_along_axis", "quantile", "real",
    "relu", "reshape", "reverse", "rms_norm", "routed", "scatter", "scatter_add", "scatter_reduce", "searchsorted",
    "sigmoid", "silu", "softmax", "softplus", "sort", "split", "spmm", "squeeze", "stack", "sum_by_index", "take",
    "take_along_axis", "tanh", "tensordot", "topk", "transpose", "unique", "unique_all", "unique_counts",
    "unique_inverse", "unique_values", "variance", "vecdot", "view_as_complex", "view_as_real", "where", "windows",
    "zeros",
]  # fmt: skip

OPERATIONS = tuple(name for name in MAPS if name != "select")
"""Every operation and elementary function that ``Tensor.map`` takes by name."""
