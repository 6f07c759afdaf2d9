"""``loom.tensor.special``: special functions beside those of ``loom.tensor``, by scipy's and torch's names.

Layer: tensor. Each is a fixed sequence of operations of the record, so that the bits are the same on every device, with
a derivative. Invariant: f16 and bf16 are computed in f32 and rounded once; integers become f32.
"""

from loom.tensor.special.bessel import i0, i0e, i1, i1e
from loom.tensor.special.entropy import entr, logit, sinc, xlog1py, xlogy
from loom.tensor.special.gamma import digamma, polygamma
from loom.tensor.special.normal import erfinv, log_ndtr, ndtr, ndtri

__all__ = [
    "digamma", "entr", "erfinv", "i0", "i0e", "i1", "i1e", "log_ndtr", "logit", "ndtr", "ndtri", "polygamma", "sinc",
    "xlog1py", "xlogy",
]  # fmt: skip
