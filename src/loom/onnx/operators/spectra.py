"""Operators of signals: the discrete Fourier transform.

Layer: onnx. Invariant: transforms are those of ``loom.tensor.fft``.
"""

from __future__ import annotations

from loom import tensor as lt
from loom.onnx.registry import Made, NodeCall, operator

__all__: list[str] = []


@operator("DFT", since=17)
def _dft(call: NodeCall) -> Made:
    x = call.tensor(0)
    if x.ndim < 2 or x.shape[-1] not in (1, 2):
        raise call.refused("the last axis is not (re) or (re, im)", expected="1 or 2", got=x.shape)
    if call.opset < 20:
        axis = call.integer("axis", 1)
    else:
        axis = int(call.scalar(2)) if call.given(2) else -2
    axis = call.axis(axis, x.ndim)
    back, half = call.flag("inverse"), call.flag("onesided")
    if axis == x.ndim - 1:
        raise call.refused("the axis of (re, im) is none of the signal", got=axis)
    n = int(call.scalar(1)) if call.given(1) else None
    is_real = x.shape[-1] == 1
    wide = lt.cast(x, "f64")  # so that what cancels is far below a unit of f32
    if half and back:
        if is_real:
            raise call.refused("one side of a spectrum is complex", expected=2, got=1)
        found = lt.fft.irfft(lt.view_as_complex(wide), n=n, axis=axis)
        return lt.cast(lt.expand_dims(found, -1), x.dtype)
    if half:
        if not is_real:
            raise call.refused("one side is enough for real signals alone", expected=1, got=2)
        return lt.cast(lt.view_as_real(lt.fft.rfft(wide[..., 0], n=n, axis=axis)), x.dtype)
    z = lt.view_as_complex(lt.concat([wide, lt.zeros_like(wide)], -1) if is_real else wide)
    found = lt.fft.ifft(z, n=n, axis=axis) if back else lt.fft.fft(z, n=n, axis=axis)
    return lt.cast(lt.view_as_real(found), x.dtype)
