"""The public names of ``loom.tensor``; written by ``tools/door.py``."""

# ruff: noqa
from math import e
from math import inf
from math import nan
from math import pi
from loom.core.dtype import bf16 as bfloat16
from loom.core.dtype import bool_ as bool
from loom.core.dtype import c64 as complex64
from loom.core.dtype import c128 as complex128
from loom.core.dtype import f16 as float16
from loom.core.dtype import f32 as float32
from loom.core.dtype import f64 as float64
from loom.core.dtype import i8 as int8
from loom.core.dtype import i16 as int16
from loom.core.dtype import i32 as int32
from loom.core.dtype import i64 as int64
from loom.core.dtype import u8 as uint8
from loom.core.dtype import u16 as uint16
from loom.core.dtype import u32 as uint32
from loom.core.dtype import u64 as uint64
from loom.tensor import fft
from loom.tensor import linalg
from loom.tensor import random
from loom.tensor import special
from loom.tensor.arrays.autodiff import checkpoint
from loom.tensor.arrays.autodiff import grad
from loom.tensor.arrays.convolution import average_pool
from loom.tensor.arrays.convolution import convolve
from loom.tensor.arrays.convolution import max_pool
from loom.tensor.arrays.functions import binary_cross_entropy
from loom.tensor.arrays.functions import gelu
from loom.tensor.arrays.functions import huber
from loom.tensor.arrays.functions import layer_norm
from loom.tensor.arrays.functions import leaky_relu
from loom.tensor.arrays.functions import log_softmax
from loom.tensor.arrays.functions import mae
from loom.tensor.arrays.functions import mse
from loom.tensor.arrays.functions import one_hot
from loom.tensor.arrays.functions import relu
from loom.tensor.arrays.functions import rms_norm
from loom.tensor.arrays.functions import sigmoid
from loom.tensor.arrays.functions import silu
from loom.tensor.arrays.functions import softmax
from loom.tensor.arrays.functions import softplus
from loom.tensor.arrays.tensor import Tensor
from loom.tensor.arrays.tensor import array
from loom.tensor.arrays.tensor import input
from loom.tensor.arrays.tensor import parameter
from loom.tensor.complexes.functions import angle
from loom.tensor.complexes.functions import complex
from loom.tensor.complexes.functions import conj
from loom.tensor.complexes.functions import imag
from loom.tensor.complexes.functions import real
from loom.tensor.complexes.functions import view_as_complex
from loom.tensor.complexes.functions import view_as_real
from loom.tensor.creation.creation import arange
from loom.tensor.creation.creation import asarray
from loom.tensor.creation.creation import astype
from loom.tensor.creation.creation import empty
from loom.tensor.creation.creation import empty_like
from loom.tensor.creation.creation import eye
from loom.tensor.creation.creation import from_dlpack
from loom.tensor.creation.creation import full
from loom.tensor.creation.creation import full_like
from loom.tensor.creation.creation import linspace
from loom.tensor.creation.creation import meshgrid
from loom.tensor.creation.creation import ones
from loom.tensor.creation.creation import ones_like
from loom.tensor.creation.creation import tril
from loom.tensor.creation.creation import triu
from loom.tensor.creation.creation import zeros
from loom.tensor.creation.creation import zeros_like
from loom.tensor.linalg.products import matrix_transpose
from loom.tensor.linalg.products import tensordot
from loom.tensor.linalg.products import vecdot
from loom.tensor.loomtensor import LoomTensor
from loom.tensor.loomtensor import OpHandle
from loom.tensor.loomtensor import Stream
from loom.tensor.loomtensor import create
from loom.tensor.loomtensor import device_query
from loom.tensor.neural.activations import celu
from loom.tensor.neural.activations import elu
from loom.tensor.neural.activations import glu
from loom.tensor.neural.activations import hardshrink
from loom.tensor.neural.activations import hardsigmoid
from loom.tensor.neural.activations import hardswish
from loom.tensor.neural.activations import hardtanh
from loom.tensor.neural.activations import logsigmoid
from loom.tensor.neural.activations import logsumexp
from loom.tensor.neural.activations import mish
from loom.tensor.neural.activations import prelu
from loom.tensor.neural.activations import relu6
from loom.tensor.neural.activations import selu
from loom.tensor.neural.activations import softmin
from loom.tensor.neural.activations import softshrink
from loom.tensor.neural.activations import softsign
from loom.tensor.neural.activations import swiglu
from loom.tensor.neural.activations import tanhshrink
from loom.tensor.neural.activations import threshold
from loom.tensor.neural.attention import rope
from loom.tensor.neural.attention import scaled_dot_product_attention
from loom.tensor.neural.losses import bce
from loom.tensor.neural.losses import bce_with_logits
from loom.tensor.neural.losses import cdist
from loom.tensor.neural.losses import cosine_embedding
from loom.tensor.neural.losses import cosine_similarity
from loom.tensor.neural.losses import cross_entropy
from loom.tensor.neural.losses import gaussian_nll
from loom.tensor.neural.losses import hinge
from loom.tensor.neural.losses import kl_div
from loom.tensor.neural.losses import multi_margin
from loom.tensor.neural.losses import nll
from loom.tensor.neural.losses import pairwise_distance
from loom.tensor.neural.losses import poisson_nll
from loom.tensor.neural.losses import smooth_l1
from loom.tensor.neural.losses import triplet_margin
from loom.tensor.neural.norms import batch_norm
from loom.tensor.neural.norms import group_norm
from loom.tensor.neural.norms import instance_norm
from loom.tensor.neural.norms import local_response_norm
from loom.tensor.neural.norms import normalize
from loom.tensor.neural.quantized import QuantizedTensor
from loom.tensor.neural.quantized import multiply_weights
from loom.tensor.neural.quantized import quantize
from loom.tensor.neural.quantized import take_rows
from loom.tensor.neural.resizing import adaptive_average_pool
from loom.tensor.neural.resizing import adaptive_max_pool
from loom.tensor.neural.resizing import conv_transpose
from loom.tensor.neural.resizing import fold
from loom.tensor.neural.resizing import interpolate
from loom.tensor.neural.resizing import unfold
from loom.tensor.neural.sequences import ctc_loss
from loom.tensor.ops.contraction import einsum
from loom.tensor.ops.elementwise import OPERATIONS
from loom.tensor.ops.elementwise import cast
from loom.tensor.ops.elementwise import where
from loom.tensor.ops.indexing import sum_by_index
from loom.tensor.ops.joining import pad
from loom.tensor.ops.joining import place
from loom.tensor.ops.joining import split
from loom.tensor.ops.joining import stack
from loom.tensor.ops.products import matmul
from loom.tensor.ops.reductions import argmax
from loom.tensor.ops.reductions import argmin
from loom.tensor.ops.reductions import variance_of as variance
from loom.tensor.ops.views import broadcast_to
from loom.tensor.ops.views import detach
from loom.tensor.ops.views import expand_dims
from loom.tensor.ops.views import flatten
from loom.tensor.ops.views import permute
from loom.tensor.ops.views import reverse
from loom.tensor.ops.views import routed
from loom.tensor.ops.views import squeeze
from loom.tensor.ops.views import transpose
from loom.tensor.ops.views import windows
from loom.tensor.program import TensorProgram
from loom.tensor.program import compile
from loom.tensor.selecting.ordering import argsort
from loom.tensor.selecting.ordering import kthvalue
from loom.tensor.selecting.ordering import median
from loom.tensor.selecting.ordering import quantile
from loom.tensor.selecting.ordering import sort
from loom.tensor.selecting.ordering import topk
from loom.tensor.selecting.repeating import repeat
from loom.tensor.selecting.scanning import cummax
from loom.tensor.selecting.scanning import cummin
from loom.tensor.selecting.scanning import cumprod
from loom.tensor.selecting.scanning import cumsum
from loom.tensor.selecting.scanning import cumulative_prod
from loom.tensor.selecting.scanning import cumulative_sum
from loom.tensor.selecting.scanning import diff
from loom.tensor.selecting.scanning import logcumsumexp
from loom.tensor.selecting.scattering import index_add
from loom.tensor.selecting.scattering import index_copy
from loom.tensor.selecting.scattering import index_fill
from loom.tensor.selecting.scattering import index_put
from loom.tensor.selecting.scattering import masked_fill
from loom.tensor.selecting.scattering import put_along_axis
from loom.tensor.selecting.scattering import scatter
from loom.tensor.selecting.scattering import scatter_add
from loom.tensor.selecting.scattering import scatter_reduce
from loom.tensor.selecting.searching import bincount
from loom.tensor.selecting.searching import bucketize
from loom.tensor.selecting.searching import count_nonzero
from loom.tensor.selecting.searching import histogram
from loom.tensor.selecting.searching import searchsorted
from loom.tensor.selecting.sized import argwhere
from loom.tensor.selecting.sized import flatnonzero
from loom.tensor.selecting.sized import masked_select
from loom.tensor.selecting.sized import nonzero
from loom.tensor.selecting.sized import unique
from loom.tensor.selecting.sized import unique_all
from loom.tensor.selecting.sized import unique_counts
from loom.tensor.selecting.sized import unique_inverse
from loom.tensor.selecting.sized import unique_values
from loom.tensor.selecting.taking import gather
from loom.tensor.selecting.taking import index_select
from loom.tensor.selecting.taking import take
from loom.tensor.selecting.taking import take_along_axis
from loom.tensor.sparse import CSR
from loom.tensor.sparse import csr
from loom.tensor.sparse import spmm
from loom.tensor.special import erfinv
from loom.tensor.standard.dtypes import can_cast
from loom.tensor.standard.dtypes import finfo
from loom.tensor.standard.dtypes import iinfo
from loom.tensor.standard.dtypes import isdtype
from loom.tensor.standard.dtypes import result_type
from loom.tensor.standard.elementwise import abs
from loom.tensor.standard.elementwise import add
from loom.tensor.standard.elementwise import ceil
from loom.tensor.standard.elementwise import clip
from loom.tensor.standard.elementwise import copysign
from loom.tensor.standard.elementwise import divide
from loom.tensor.standard.elementwise import floor
from loom.tensor.standard.elementwise import floor_divide
from loom.tensor.standard.elementwise import hypot
from loom.tensor.standard.elementwise import maximum
from loom.tensor.standard.elementwise import minimum
from loom.tensor.standard.elementwise import multiply
from loom.tensor.standard.elementwise import negative
from loom.tensor.standard.elementwise import nextafter
from loom.tensor.standard.elementwise import positive
from loom.tensor.standard.elementwise import pow
from loom.tensor.standard.elementwise import reciprocal
from loom.tensor.standard.elementwise import remainder
from loom.tensor.standard.elementwise import round
from loom.tensor.standard.elementwise import sign
from loom.tensor.standard.elementwise import signbit
from loom.tensor.standard.elementwise import sqrt
from loom.tensor.standard.elementwise import square
from loom.tensor.standard.elementwise import subtract
from loom.tensor.standard.elementwise import trunc
from loom.tensor.standard.info import VERSION as __array_api_version__
from loom.tensor.standard.info import info as __array_namespace_info__
from loom.tensor.standard.logic import bitwise_and
from loom.tensor.standard.logic import bitwise_invert
from loom.tensor.standard.logic import bitwise_left_shift
from loom.tensor.standard.logic import bitwise_or
from loom.tensor.standard.logic import bitwise_right_shift
from loom.tensor.standard.logic import bitwise_xor
from loom.tensor.standard.logic import equal
from loom.tensor.standard.logic import greater
from loom.tensor.standard.logic import greater_equal
from loom.tensor.standard.logic import isfinite
from loom.tensor.standard.logic import isinf
from loom.tensor.standard.logic import isnan
from loom.tensor.standard.logic import less
from loom.tensor.standard.logic import less_equal
from loom.tensor.standard.logic import logical_and
from loom.tensor.standard.logic import logical_not
from loom.tensor.standard.logic import logical_or
from loom.tensor.standard.logic import logical_xor
from loom.tensor.standard.logic import not_equal
from loom.tensor.standard.manipulation import broadcast_arrays
from loom.tensor.standard.manipulation import concat
from loom.tensor.standard.manipulation import flip
from loom.tensor.standard.manipulation import moveaxis
from loom.tensor.standard.manipulation import permute_dims
from loom.tensor.standard.manipulation import reshape
from loom.tensor.standard.manipulation import roll
from loom.tensor.standard.manipulation import tile
from loom.tensor.standard.manipulation import unstack
from loom.tensor.standard.statistics import all
from loom.tensor.standard.statistics import any
from loom.tensor.standard.statistics import max
from loom.tensor.standard.statistics import mean
from loom.tensor.standard.statistics import min
from loom.tensor.standard.statistics import prod
from loom.tensor.standard.statistics import std
from loom.tensor.standard.statistics import sum
from loom.tensor.standard.statistics import var
from loom.tensor.standard.transcendental import acos
from loom.tensor.standard.transcendental import acosh
from loom.tensor.standard.transcendental import asin
from loom.tensor.standard.transcendental import asinh
from loom.tensor.standard.transcendental import atan
from loom.tensor.standard.transcendental import atan2
from loom.tensor.standard.transcendental import atanh
from loom.tensor.standard.transcendental import cos
from loom.tensor.standard.transcendental import cosh
from loom.tensor.standard.transcendental import exp
from loom.tensor.standard.transcendental import expm1
from loom.tensor.standard.transcendental import log
from loom.tensor.standard.transcendental import log1p
from loom.tensor.standard.transcendental import log2
from loom.tensor.standard.transcendental import log10
from loom.tensor.standard.transcendental import logaddexp
from loom.tensor.standard.transcendental import sin
from loom.tensor.standard.transcendental import sinh
from loom.tensor.standard.transcendental import tan
from loom.tensor.standard.transcendental import tanh

newaxis: None
__all__ = [
    "CSR",
    "LoomTensor",
    "OPERATIONS",
    "OpHandle",
    "QuantizedTensor",
    "Stream",
    "Tensor",
    "TensorProgram",
    "__array_api_version__",
    "__array_namespace_info__",
    "abs",
    "acos",
    "acosh",
    "adaptive_average_pool",
    "adaptive_max_pool",
    "add",
    "all",
    "angle",
    "any",
    "arange",
    "argmax",
    "argmin",
    "argsort",
    "argwhere",
    "array",
    "asarray",
    "asin",
    "asinh",
    "astype",
    "atan",
    "atan2",
    "atanh",
    "average_pool",
    "batch_norm",
    "bce",
    "bce_with_logits",
    "bfloat16",
    "binary_cross_entropy",
    "bincount",
    "bitwise_and",
    "bitwise_invert",
    "bitwise_left_shift",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "bool",
    "broadcast_arrays",
    "broadcast_to",
    "bucketize",
    "can_cast",
    "cast",
    "cdist",
    "ceil",
    "celu",
    "checkpoint",
    "clip",
    "compile",
    "complex",
    "complex128",
    "complex64",
    "concat",
    "conj",
    "conv_transpose",
    "convolve",
    "copysign",
    "cos",
    "cosh",
    "cosine_embedding",
    "cosine_similarity",
    "count_nonzero",
    "create",
    "cross_entropy",
    "csr",
    "ctc_loss",
    "cummax",
    "cummin",
    "cumprod",
    "cumsum",
    "cumulative_prod",
    "cumulative_sum",
    "detach",
    "device_query",
    "diff",
    "divide",
    "e",
    "einsum",
    "elu",
    "empty",
    "empty_like",
    "equal",
    "erfinv",
    "exp",
    "expand_dims",
    "expm1",
    "eye",
    "fft",
    "finfo",
    "flatnonzero",
    "flatten",
    "flip",
    "float16",
    "float32",
    "float64",
    "floor",
    "floor_divide",
    "fold",
    "from_dlpack",
    "full",
    "full_like",
    "gather",
    "gaussian_nll",
    "gelu",
    "glu",
    "grad",
    "greater",
    "greater_equal",
    "group_norm",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hinge",
    "histogram",
    "huber",
    "hypot",
    "iinfo",
    "imag",
    "index_add",
    "index_copy",
    "index_fill",
    "index_put",
    "index_select",
    "inf",
    "input",
    "instance_norm",
    "int16",
    "int32",
    "int64",
    "int8",
    "interpolate",
    "isdtype",
    "isfinite",
    "isinf",
    "isnan",
    "kl_div",
    "kthvalue",
    "layer_norm",
    "leaky_relu",
    "less",
    "less_equal",
    "linalg",
    "linspace",
    "local_response_norm",
    "log",
    "log10",
    "log1p",
    "log2",
    "log_softmax",
    "logaddexp",
    "logcumsumexp",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "logsigmoid",
    "logsumexp",
    "mae",
    "masked_fill",
    "masked_select",
    "matmul",
    "matrix_transpose",
    "max",
    "max_pool",
    "maximum",
    "mean",
    "median",
    "meshgrid",
    "min",
    "minimum",
    "mish",
    "moveaxis",
    "mse",
    "multi_margin",
    "multiply",
    "multiply_weights",
    "nan",
    "negative",
    "newaxis",
    "nextafter",
    "nll",
    "nonzero",
    "normalize",
    "not_equal",
    "one_hot",
    "ones",
    "ones_like",
    "pad",
    "pairwise_distance",
    "parameter",
    "permute",
    "permute_dims",
    "pi",
    "place",
    "poisson_nll",
    "positive",
    "pow",
    "prelu",
    "prod",
    "put_along_axis",
    "quantile",
    "quantize",
    "random",
    "real",
    "reciprocal",
    "relu",
    "relu6",
    "remainder",
    "repeat",
    "reshape",
    "result_type",
    "reverse",
    "rms_norm",
    "roll",
    "rope",
    "round",
    "routed",
    "scaled_dot_product_attention",
    "scatter",
    "scatter_add",
    "scatter_reduce",
    "searchsorted",
    "selu",
    "sigmoid",
    "sign",
    "signbit",
    "silu",
    "sin",
    "sinh",
    "smooth_l1",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "sort",
    "special",
    "split",
    "spmm",
    "sqrt",
    "square",
    "squeeze",
    "stack",
    "std",
    "subtract",
    "sum",
    "sum_by_index",
    "swiglu",
    "take",
    "take_along_axis",
    "take_rows",
    "tan",
    "tanh",
    "tanhshrink",
    "tensordot",
    "threshold",
    "tile",
    "topk",
    "transpose",
    "tril",
    "triplet_margin",
    "triu",
    "trunc",
    "uint16",
    "uint32",
    "uint64",
    "uint8",
    "unfold",
    "unique",
    "unique_all",
    "unique_counts",
    "unique_inverse",
    "unique_values",
    "unstack",
    "var",
    "variance",
    "vecdot",
    "view_as_complex",
    "view_as_real",
    "where",
    "windows",
    "zeros",
    "zeros_like",
]
