"""Tensors on devices: operations recorded, differentiated, fused, and run as programs. Layer: tensor.

    from loom import tensor
    w = tensor.parameter(numpy.zeros((784, 10), "float32"))
    x = tensor.input("x", (64, 784))
    loss = ...
    (g,) = tensor.grad(loss, [w])
    step = tensor.compile([loss], [(w, w - g * 0.1)])
    step.run(x=batch)

The names below are loaded when first used. Type checkers read the same table in ``__init__.pyi``, which
``tools/door.py`` writes. Invariant: recording runs nothing, and the bits of what a program computes are the same on
every device.

Stability: stable.
"""

from importlib import import_module

from loom.core.errors import end_of_process
from loom.core.tracebacks import public

newaxis = None
"""An index that makes a new axis."""
_MODULES = ("fft", "linalg", "random", "special")
"""Names that are modules of their own."""
_NAMES = {
    "math": "e inf nan pi",
    "loom.core.dtype": (
        "bfloat16=bf16 bool=bool_ complex64=c64 complex128=c128 float16=f16 float32=f32 float64=f64 int8=i8 "
        "int16=i16 int32=i32 int64=i64 uint8=u8 uint16=u16 uint32=u32 uint64=u64"
    ),
    "loom.tensor.arrays.autodiff": "checkpoint grad",
    "loom.tensor.complexes.functions": "angle complex conj imag real view_as_complex view_as_real",
    "loom.tensor.arrays.convolution": "average_pool convolve max_pool",
    "loom.tensor.creation.creation": (
        "arange asarray astype empty empty_like eye from_dlpack full full_like linspace meshgrid ones ones_like "
        "tril triu zeros zeros_like"
    ),
    "loom.tensor.arrays.functions": (
        "binary_cross_entropy gelu huber layer_norm leaky_relu log_softmax mae mse one_hot relu rms_norm sigmoid "
        "silu softmax softplus"
    ),
    "loom.tensor.linalg.products": "matrix_transpose tensordot vecdot",
    "loom.tensor.loomtensor": "LoomTensor OpHandle Stream create device_query",
    "loom.tensor.neural.activations": (
        "celu elu glu hardshrink hardsigmoid hardswish hardtanh logsigmoid logsumexp mish prelu relu6 selu "
        "softmin softshrink softsign swiglu tanhshrink threshold"
    ),
    "loom.tensor.neural.attention": "rope scaled_dot_product_attention",
    "loom.tensor.neural.losses": (
        "bce bce_with_logits cdist cosine_embedding cosine_similarity cross_entropy gaussian_nll hinge kl_div "
        "multi_margin nll pairwise_distance poisson_nll smooth_l1 triplet_margin"
    ),
    "loom.tensor.neural.norms": "batch_norm group_norm instance_norm local_response_norm normalize",
    "loom.tensor.neural.quantized": "QuantizedTensor multiply_weights quantize take_rows",
    "loom.tensor.neural.resizing": "adaptive_average_pool adaptive_max_pool conv_transpose fold interpolate unfold",
    "loom.tensor.neural.sequences": "ctc_loss",
    "loom.tensor.ops.contraction": "einsum",
    "loom.tensor.ops.elementwise": "OPERATIONS cast where",
    "loom.tensor.ops.indexing": "sum_by_index",
    "loom.tensor.ops.joining": "pad place split stack",
    "loom.tensor.ops.products": "matmul",
    "loom.tensor.ops.reductions": "argmax argmin variance=variance_of",
    "loom.tensor.ops.views": "broadcast_to detach expand_dims flatten permute reverse routed squeeze transpose windows",
    "loom.tensor.program": "TensorProgram compile",
    "loom.tensor.selecting.ordering": "argsort kthvalue median quantile sort topk",
    "loom.tensor.selecting.repeating": "repeat",
    "loom.tensor.selecting.scanning": "cummax cummin cumprod cumsum cumulative_prod cumulative_sum diff logcumsumexp",
    "loom.tensor.selecting.scattering": (
        "index_add index_copy index_fill index_put masked_fill put_along_axis scatter scatter_add scatter_reduce"
    ),
    "loom.tensor.selecting.searching": "bincount bucketize count_nonzero histogram searchsorted",
    "loom.tensor.selecting.sized": (
        "argwhere flatnonzero masked_select nonzero unique unique_all unique_counts unique_inverse unique_values"
    ),
    "loom.tensor.selecting.taking": "gather index_select take take_along_axis",
    "loom.tensor.sparse": "CSR csr spmm",
    "loom.tensor.special": "erfinv",
    "loom.tensor.standard.dtypes": "can_cast finfo iinfo isdtype result_type",
    "loom.tensor.standard.elementwise": (
        "abs add ceil clip copysign divide floor floor_divide hypot maximum minimum multiply negative nextafter "
        "positive pow reciprocal remainder round sign signbit sqrt square subtract trunc"
    ),
    "loom.tensor.standard.info": "__array_api_version__=VERSION __array_namespace_info__=info",
    "loom.tensor.standard.logic": (
        "bitwise_and bitwise_invert bitwise_left_shift bitwise_or bitwise_right_shift bitwise_xor equal greater "
        "greater_equal isfinite isinf isnan less less_equal logical_and logical_not logical_or logical_xor not_equal"
    ),
    "loom.tensor.standard.manipulation": "broadcast_arrays concat flip moveaxis permute_dims reshape roll tile unstack",
    "loom.tensor.standard.statistics": "all any max mean min prod std sum var",
    "loom.tensor.standard.transcendental": (
        "acos acosh asin asinh atan atan2 atanh cos cosh exp expm1 log log10 log1p log2 logaddexp sin sinh tan tanh"
    ),
    "loom.tensor.arrays.tensor": "Tensor array input parameter",
}
"""The names that each module gives, some by another name (own=other)."""
_OWN = (
    "abs astype broadcast_arrays broadcast_to cast ceil clip concat conj cumprod cumsum cumulative_prod "
    "cumulative_sum diff expand_dims flatten flip floor index_add index_copy index_fill index_put leaky_relu "
    "matrix_transpose max maximum mean min minimum moveaxis pad permute permute_dims place positive pow prod "
    "put_along_axis real relu repeat reshape reverse roll round scatter scatter_add scatter_reduce sort split "
    "squeeze stack sum take tile transpose tril triu trunc unstack where"
)
"""Functions that may have nothing to do: what they return is another tensor all the same (``handle.methods.own``)."""

_WHERE = {
    name: (module, other or name)
    for module, names in _NAMES.items()
    for name, _, other in (word.partition("=") for word in names.split())
}
"""The module of each name, and what it is called there."""
__all__ = ["newaxis", *_MODULES, *_WHERE]  # noqa: PLE0604


def __getattr__(name: str) -> object:
    try:
        return _find(name)
    except ImportError:
        if (found := end_of_process(f"loom.tensor.{name}")) is None:
            raise
    raise found


def _find(name: str) -> object:
    if name in _MODULES:
        return import_module(f"loom.tensor.{name}")
    if name not in _WHERE:
        from loom.core.names import missing_name

        raise missing_name("loom.tensor", name, __all__)
    module, other = _WHERE[name]
    value = getattr(import_module(module), other)
    if name in _OWN.split():
        from loom.tensor.handle.methods import own

        value = own(value)
    return globals().setdefault(name, public(value))  # of threads that ask at once all get one function


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
