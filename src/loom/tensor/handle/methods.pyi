"""The methods of tensors; written by ``tools/methods.py``."""

# ruff: noqa: A002, N802
from collections.abc import Callable
from typing import Any

from loom.tensor.arrays import functions as _arrays_functions
from loom.tensor.arrays.tensor import Tensor
from loom.tensor.complexes import functions as _complexes_functions
from loom.tensor.creation import creation as _creation_creation
from loom.tensor.ops import joining as _ops_joining
from loom.tensor.ops import reductions as _ops_reductions
from loom.tensor.ops import views as _ops_views
from loom.tensor.selecting import ordering as _selecting_ordering
from loom.tensor.selecting import repeating as _selecting_repeating
from loom.tensor.selecting import scanning as _selecting_scanning
from loom.tensor.selecting import scattering as _selecting_scattering
from loom.tensor.selecting import searching as _selecting_searching
from loom.tensor.selecting import sized as _selecting_sized
from loom.tensor.selecting import taking as _selecting_taking
from loom.tensor.standard import elementwise as _standard_elementwise
from loom.tensor.standard import logic as _standard_logic
from loom.tensor.standard import manipulation as _standard_manipulation
from loom.tensor.standard import transcendental as _standard_transcendental

METHODS: tuple[str, ...]

def fresh(found: Any, *given: Any) -> Any: ...
def own(function: Callable[..., Any]) -> Callable[..., Any]: ...

class Methods:
    gelu = _arrays_functions.gelu
    log_softmax = _arrays_functions.log_softmax
    silu = _arrays_functions.silu
    softmax = _arrays_functions.softmax
    angle = _complexes_functions.angle
    conj = _complexes_functions.conj
    tril = _creation_creation.tril
    triu = _creation_creation.triu
    split = _ops_joining.split
    argmax = _ops_reductions.argmax
    argmin = _ops_reductions.argmin
    variance = _ops_reductions.variance_of
    detach = _ops_views.detach
    expand_dims = _ops_views.expand_dims
    flatten = _ops_views.flatten
    squeeze = _ops_views.squeeze
    argsort = _selecting_ordering.argsort
    kthvalue = _selecting_ordering.kthvalue
    median = _selecting_ordering.median
    quantile = _selecting_ordering.quantile
    sort = _selecting_ordering.sort
    topk = _selecting_ordering.topk
    repeat = _selecting_repeating.repeat
    cummax = _selecting_scanning.cummax
    cummin = _selecting_scanning.cummin
    cumprod = _selecting_scanning.cumprod
    cumsum = _selecting_scanning.cumsum
    diff = _selecting_scanning.diff
    index_add = _selecting_scattering.index_add
    index_copy = _selecting_scattering.index_copy
    index_fill = _selecting_scattering.index_fill
    index_put = _selecting_scattering.index_put
    masked_fill = _selecting_scattering.masked_fill
    scatter = _selecting_scattering.scatter
    scatter_add = _selecting_scattering.scatter_add
    scatter_reduce = _selecting_scattering.scatter_reduce
    bincount = _selecting_searching.bincount
    count_nonzero = _selecting_searching.count_nonzero
    histogram = _selecting_searching.histogram
    searchsorted = _selecting_searching.searchsorted
    masked_select = _selecting_sized.masked_select
    nonzero = _selecting_sized.nonzero
    unique = _selecting_sized.unique
    index_select = _selecting_taking.index_select
    take = _selecting_taking.take
    take_along_axis = _selecting_taking.take_along_axis
    abs = _standard_elementwise.abs
    ceil = _standard_elementwise.ceil
    clip = _standard_elementwise.clip
    copysign = _standard_elementwise.copysign
    floor = _standard_elementwise.floor
    maximum = _standard_elementwise.maximum
    minimum = _standard_elementwise.minimum
    reciprocal = _standard_elementwise.reciprocal
    sign = _standard_elementwise.sign
    square = _standard_elementwise.square
    trunc = _standard_elementwise.trunc
    isfinite = _standard_logic.isfinite
    isinf = _standard_logic.isinf
    isnan = _standard_logic.isnan
    moveaxis = _standard_manipulation.moveaxis
    acos = _standard_transcendental.acos
    acosh = _standard_transcendental.acosh
    asin = _standard_transcendental.asin
    asinh = _standard_transcendental.asinh
    atan = _standard_transcendental.atan
    atanh = _standard_transcendental.atanh
    cos = _standard_transcendental.cos
    cosh = _standard_transcendental.cosh
    expm1 = _standard_transcendental.expm1
    log10 = _standard_transcendental.log10
    log1p = _standard_transcendental.log1p
    log2 = _standard_transcendental.log2
    sin = _standard_transcendental.sin
    sinh = _standard_transcendental.sinh
    tan = _standard_transcendental.tan
    def any(self, axis: Any = None, *, keepdims: bool = False) -> Tensor: ...
    def all(self, axis: Any = None, *, keepdims: bool = False) -> Tensor: ...
    def prod(self, axis: Any = None, *, keepdims: bool = False) -> Tensor: ...
    def var(self, axis: Any = None, *, correction: float = 0.0, keepdims: bool = False) -> Tensor: ...
    def std(self, axis: Any = None, *, correction: float = 0.0, keepdims: bool = False) -> Tensor: ...
    def norm(self, *, axis: Any = None, keepdims: bool = False, ord: float = 2) -> Tensor: ...
    def dot(self, other: Any) -> Tensor: ...
    def matmul(
        self,
        other: Any,
        *,
        transpose_a: bool = False,
        transpose_b: bool = False,
        precision: str | None = None,
        guarantee: Any = None,
        out_dtype: Any = None,
    ) -> Tensor: ...
    def round(self, decimals: int = 0) -> Tensor: ...
    def ravel(self) -> Tensor: ...
    def view(self, *shape: Any) -> Tensor: ...
    def view_as(self, other: Any) -> Tensor: ...
    def expand(self, *shape: Any) -> Tensor: ...
    def transpose(self, *axes: Any) -> Tensor: ...
    def swapaxes(self, first: int, second: int) -> Tensor: ...
    def unsqueeze(self, axis: int) -> Tensor: ...
    def chunk(self, chunks: int, axis: int = 0) -> list[Tensor]: ...
    def tile(self, *repetitions: Any) -> Tensor: ...
    def roll(self, shift: Any, axis: Any = None) -> Tensor: ...
    def flip(self, axis: Any = None) -> Tensor: ...
    def clamp(self, min: Any = None, max: Any = None) -> Tensor: ...
    @property
    def mT(self) -> Tensor: ...
    @property
    def real(self) -> Tensor: ...
    @property
    def imag(self) -> Tensor: ...
    @property
    def itemsize(self) -> int: ...
    def copy(self) -> Tensor: ...
    clone = copy
    def contiguous(self) -> Tensor: ...
    def to_device(self, where: Any, /, *, stream: Any = None) -> Tensor: ...
    def to(self, where: Any) -> Tensor: ...
    def cpu(self) -> Tensor: ...
    def type(self, dtype: Any) -> Tensor: ...
    def half(self) -> Tensor: ...
    def float(self) -> Tensor: ...
    def double(self) -> Tensor: ...
    def int(self) -> Tensor: ...
    def long(self) -> Tensor: ...
    def bool(self) -> Tensor: ...
