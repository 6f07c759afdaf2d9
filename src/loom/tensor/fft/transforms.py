"""The Fourier transforms of the Python array API standard 2024.12, recorded: any length, several axes, differentiable.

Layer: tensor. Several axes are transformed one after the other, the last first. Invariant: an axis is cut or filled up
with zeros at its end before it is transformed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from loom.core.errors import ArgumentError, DTypeError, EmptyError, ShapeError
from loom.core.given import items
from loom.core.numbers import whole
from loom.kernels.types import real_type
from loom.schedules.fft import norm_scale
from loom.tensor.fft.record import from_half, to_half, transform
from loom.tensor.ops.elementwise import apply, cast
from loom.tensor.ops.joining import pad
from loom.tensor.ops.parts import join, part_of
from loom.tensor.ops.views import normal_axis, take_slices, transpose
from loom.tensor.record.graph import Node, NodeT, require_tensor

__all__ = ["fft", "fftn", "hfft", "ifft", "ifftn", "ihfft", "irfft", "irfftn", "rfft", "rfftn"]

_TURNED = {"backward": "forward", "ortho": "ortho", "forward": "backward"}


def _ready(x: NodeT, where: str, *, real: bool = False) -> NodeT:
    """Return a tensor of f32, f64, c64 or c128: 16 bits become f32, integers and bools f64."""
    require_tensor(x, where)
    if real and x.dtype.is_complex:
        raise DTypeError(where, "complex numbers", expected="real numbers", got=x.dtype,
                         remedy="Use fft.fft, or take tensor.real(x)")  # fmt: skip
    return x if x.dtype.is_complex else cast(x, real_type(x.dtype))


def _length(x: Node, n: Any, axis: int, where: str) -> int:
    """Return the length that an axis is to have, at least 1."""
    if n is None and not x.shape[axis]:
        raise EmptyError(where, "no elements to transform", expected="at least 1 along the axis", got=x.shape,
                         remedy="Pass n, to fill up with zeros")  # fmt: skip
    return x.shape[axis] if n is None else whole(n, f"{where}, n", least=1)


def _fit(x: NodeT, n: int, axis: int) -> NodeT:
    """Return a tensor with an axis cut, or filled up with zeros, to ``n``."""
    have = x.shape[axis]
    if n < have:
        return take_slices(x, [0] * x.ndim, [1] * x.ndim, (*x.shape[:axis], n, *x.shape[axis + 1 :]))
    return pad(x, [(0, n - have if a == axis else 0) for a in range(x.ndim)]) if n > have else x


def _along(x: NodeT, axis: int, change: Any) -> NodeT:
    """Return what ``change`` makes of rows along an axis."""
    return change(x) if axis == x.ndim - 1 else transpose(change(transpose(x, axis, -1)), axis, -1)


def _complex(x: NodeT, n: Any, axis: Any, norm: Any, where: str, *, inverse: bool) -> NodeT:
    x = _ready(x, where)
    at = normal_axis(x, axis, where)
    size = _length(x, n, at, where)
    scale = norm_scale(where, norm, size, inverse=inverse)
    return _along(_fit(x, size, at), at, partial(transform, scale=scale, inverse=inverse))


def fft(x: NodeT, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> NodeT:
    """Return the discrete Fourier transform along an axis: sum over j of x[j] exp(-2 pi i j k / n).

    ``x``: real or complex; c128, f64, integers and bools give c128, others c64. ``n``: the length transformed, to which
    the axis is cut or filled up with zeros. ``norm``: "backward" (no factor here, 1/n in ``ifft``), "ortho"
    (1/sqrt(n) in both) or "forward" (1/n here). Raises EmptyError for no elements without ``n``, ArgumentError for
    another norm or n < 1.

    >>> from loom import tensor
    >>> fft(tensor.array([1.0, 0.0, -1.0, 0.0])).tolist()
    [0j, (2+0j), 0j, (2+0j)]
    """
    return _complex(x, n, axis, norm, "fft.fft", inverse=False)


def ifft(x: NodeT, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> NodeT:
    """Return the inverse of ``fft``: sum over k of x[k] exp(2 pi i j k / n), times 1/n unless ``norm`` says else.

    >>> from loom import tensor
    >>> ifft(tensor.array([4.0, 0.0, 0.0, 0.0])).tolist()
    [(1+0j), (1+0j), (1+0j), (1+0j)]
    """
    return _complex(x, n, axis, norm, "fft.ifft", inverse=True)


def rfft(x: NodeT, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> NodeT:
    """Return the n // 2 + 1 first numbers of the transform of real numbers; the others are conjugates of these.

    Arguments and errors as for ``fft``; DTypeError for complex numbers.

    >>> from loom import tensor
    >>> rfft(tensor.array([1.0, 0.0, -1.0, 0.0])).tolist()
    [0j, (2+0j), 0j]
    """
    where = "fft.rfft"
    x = _ready(x, where, real=True)
    at = normal_axis(x, axis, where)
    size = _length(x, n, at, where)
    scale = norm_scale(where, norm, size, inverse=False)
    return _along(_fit(x, size, at), at, partial(to_half, scale=scale))


def irfft(x: NodeT, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> NodeT:
    """Return the ``n`` real numbers (default 2 (m - 1) of m) whose ``rfft`` is ``x``, cut or filled up to n // 2 + 1.

    Imaginary parts of the first number, and for an even n of the last one, are taken as zero.

    >>> from loom import tensor
    >>> irfft(tensor.array([0.0, 2.0, 0.0])).tolist()
    [1.0, 0.0, -1.0, 0.0]
    """
    where = "fft.irfft"
    x = _ready(x, where)
    at = normal_axis(x, axis, where)
    size = max(1, 2 * (_length(x, None, at, where) - 1)) if n is None else whole(n, f"{where}, n", least=1)
    scale = norm_scale(where, norm, size, inverse=True)
    x = x if x.dtype.is_complex else cast(x, f"c{2 * x.dtype.bits}")
    return _along(_fit(x, size // 2 + 1, at), at, partial(from_half, n=size, scale=scale))


def hfft(x: NodeT, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> NodeT:
    """Return the ``n`` real numbers that are the transform of a signal with x[-j] the conjugate of x[j].

    ``x`` has its first n // 2 + 1 numbers; ``n`` is 2 (m - 1) of m by default.

    >>> from loom import tensor
    >>> hfft(tensor.array([1.0, 2.0])).tolist()
    [3.0, -1.0]
    """
    return irfft(_conj(_ready(x, "fft.hfft")), n=n, axis=axis, norm=_turn(norm, "fft.hfft"))


def ihfft(x: NodeT, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> NodeT:
    """Return the first n // 2 + 1 numbers of the signal whose transform is the real numbers ``x``.

    >>> from loom import tensor
    >>> ihfft(tensor.array([3.0, -1.0])).tolist()
    [(1-0j), (2-0j)]
    """
    return _conj(rfft(_ready(x, "fft.ihfft", real=True), n=n, axis=axis, norm=_turn(norm, "fft.ihfft")))


def _conj(x: NodeT) -> NodeT:
    return join(part_of(x, 0), apply("neg", part_of(x, 1))) if x.dtype.is_complex else x


def _turn(norm: Any, where: str) -> str:
    norm_scale(where, norm, 1, inverse=False)
    return _TURNED[norm]


# several axes


def _axes(x: Node, s: Any, axes: Any, where: str) -> list[tuple[int, int | None]]:
    """Return axes and the lengths they are to have; an axis may be named more than once."""
    sizes = None if s is None else list(items(s, f"{where}, s", "lengths"))
    if axes is None:
        count = x.ndim if sizes is None else len(sizes)
        if count > x.ndim:
            raise ShapeError(f"{where}, s", "more lengths than axes", expected=f"at most {x.ndim}", got=s,
                             remedy=f"The tensor has shape {x.shape}")  # fmt: skip
        axes = range(x.ndim - count, x.ndim)
    found = [normal_axis(x, a, where) for a in items(axes, f"{where}, axes", "axes")]
    if sizes is not None and len(sizes) != len(found):
        raise ArgumentError(f"{where}, s", "not one length for each axis", expected=len(found), got=s,
                            remedy="Match s and axes")  # fmt: skip
    return list(zip(found, sizes or [None] * len(found), strict=True))


def fftn(x: NodeT, /, *, s: Sequence[int] | None = None, axes: Sequence[int] | None = None,
         norm: str = "backward") -> NodeT:  # fmt: skip
    """Return the transform along several axes (None: all, or the last ``len(s)``), each of its length of ``s``.

    >>> from loom import tensor
    >>> fftn(tensor.ones((2, 2))).tolist()
    [[(4+0j), 0j], [0j, 0j]]
    """
    return _several(x, s, axes, norm, "fft.fftn", inverse=False)


def ifftn(x: NodeT, /, *, s: Sequence[int] | None = None, axes: Sequence[int] | None = None,
          norm: str = "backward") -> NodeT:  # fmt: skip
    """Return the inverse of ``fftn``."""
    return _several(x, s, axes, norm, "fft.ifftn", inverse=True)


def _several(x: NodeT, s: Any, axes: Any, norm: Any, where: str, *, inverse: bool) -> NodeT:
    x = _ready(x, where)
    norm_scale(where, norm, 1, inverse=inverse)
    for axis, n in reversed(_axes(x, s, axes, where)):
        x = _complex(x, n, axis, norm, where, inverse=inverse)
    return x if x.dtype.is_complex else cast(x, f"c{2 * x.dtype.bits}")


def rfftn(x: NodeT, /, *, s: Sequence[int] | None = None, axes: Sequence[int] | None = None,
          norm: str = "backward") -> NodeT:  # fmt: skip
    """Return ``rfft`` along the last of several axes, then ``fft`` along the others."""
    where = "fft.rfftn"
    x = _ready(x, where, real=True)
    *others, (axis, n) = _require_axes(_axes(x, s, axes, where), where)
    x = rfft(x, n=n, axis=axis, norm=norm)
    for axis, n in reversed(others):
        x = _complex(x, n, axis, norm, where, inverse=False)
    return x


def irfftn(x: NodeT, /, *, s: Sequence[int] | None = None, axes: Sequence[int] | None = None,
           norm: str = "backward") -> NodeT:  # fmt: skip
    """Return the inverse of ``rfftn``: ``ifft`` along all axes but the last, then ``irfft``."""
    where = "fft.irfftn"
    x = _ready(x, where)
    *others, (axis, n) = _require_axes(_axes(x, s, axes, where), where)
    for other, size in others:
        x = _complex(x, size, other, norm, where, inverse=True)
    return irfft(x, n=n, axis=axis, norm=norm)


def _require_axes(found: list[tuple[int, int | None]], where: str) -> list[tuple[int, int | None]]:
    if not found:
        raise ArgumentError(f"{where}, axes", "no axis", expected="at least 1", got="none", remedy="Name one")
    return found
