"""Operators of signals: Fourier transforms, windows, weights of mel bands.

Layer: onnx. Invariant: transforms are those of ``loom.tensor.fft``, and every cosine and logarithm is Loom's.
"""

from __future__ import annotations

import math

import numpy as np

from loom import tensor as lt
from loom.importers.signals import BLACKMAN, HANN, cosine_window
from loom.onnx.registry import Made, NodeCall, operator
from loom.tensor.arrays.tensor import Tensor

__all__: list[str] = []


@operator("DFT", since=17)
def _dft(call: NodeCall, x: Tensor) -> Made:
    if x.ndim < 2 or x.shape[-1] not in (1, 2):
        raise call.refusal("the last axis is not (re) or (re, im)", expected="1 or 2", got=x.shape)
    if call.opset < 20:
        axis = call.integer("axis", 1)
    else:
        axis = int(call.scalar(2)) if call.has_input(2) else -2
    axis = call.axis(axis, x.ndim)
    back, half = call.flag("inverse"), call.flag("onesided")
    if axis == x.ndim - 1:
        raise call.refusal("the axis of (re, im) is none of the signal", got=axis)
    n = int(call.scalar(1)) if call.has_input(1) else None
    is_real = x.shape[-1] == 1
    wide = lt.cast(x, "f64")  # so that what cancels is far below a unit of f32
    if half and back:
        if is_real:
            raise call.refusal("one side of a spectrum is complex", expected=2, got=1)
        found = lt.fft.irfft(lt.view_as_complex(wide), n=n, axis=axis)
        return lt.cast(lt.expand_dims(found, -1), x.dtype)
    if half:
        if not is_real:
            raise call.refusal("one side is enough for real signals alone", expected=1, got=2)
        return lt.cast(lt.view_as_real(lt.fft.rfft(wide[..., 0], n=n, axis=axis)), x.dtype)
    z = lt.view_as_complex(lt.concat([wide, lt.zeros_like(wide)], -1) if is_real else wide)
    found = lt.fft.ifft(z, n=n, axis=axis) if back else lt.fft.fft(z, n=n, axis=axis)
    return lt.cast(lt.view_as_real(found), x.dtype)


@operator("STFT", since=17)
def _stft(call: NodeCall, x: Tensor) -> Made:
    step = int(call.scalar(1))
    window, half = call.maybe(2), call.flag("onesided", 1)
    if x.ndim == 2:
        x = lt.expand_dims(x, -1)
    if x.ndim != 3 or x.shape[-1] not in (1, 2):
        raise call.refusal("no signals", expected="(n, length, 1) or (n, length, 2)", got=x.shape)
    size = int(call.scalar(3)) if call.has_input(3) else x.shape[1] if window is None else window.shape[0]
    if step < 1 or not 1 <= size <= x.shape[1] or (window is not None and window.shape != (size,)):
        raise call.refusal("frames do not fit", expected=f"1 to {x.shape[1]}, a step of at least 1",
                           got=(size, step, None if window is None else window.shape))  # fmt: skip
    if half and x.shape[-1] == 2:
        raise call.refusal("one side is enough for real signals alone", expected=1, got=2)
    frames = lt.windows(lt.cast(x, "f64"), [1], [size], [step])  # (n, frames, 1 or 2, size)
    if window is not None:
        frames = frames * lt.cast(window, "f64")
    if half:
        return lt.cast(lt.view_as_real(lt.fft.rfft(frames[:, :, 0], axis=-1)), x.dtype)
    if frames.shape[2] == 1:
        frames = lt.concat([frames, lt.zeros_like(frames)], 2)
    z = lt.view_as_complex(lt.permute(frames, (0, 1, 3, 2)))
    return lt.cast(lt.view_as_real(lt.fft.fft(z, axis=-1)), x.dtype)


@operator("HannWindow", "HammingWindow", "BlackmanWindow", since=17)
def _window(call: NodeCall) -> Made:
    size = int(call.scalar(0))
    dtype = call.element("output_datatype", 1)
    call.check_shape((size,))
    terms = {"HannWindow": HANN, "HammingWindow": (25 / 46, 21 / 46, 0.0), "BlackmanWindow": BLACKMAN}[call.name]
    return cosine_window(call, size, terms, dtype, periodic=call.flag("periodic", 1))


@operator("MelWeightMatrix", since=17)
def _mel_weight_matrix(call: NodeCall) -> Made:
    bands, length, rate = (int(call.scalar(i)) for i in range(3))
    edges = np.array([float(call.scalar(3)), float(call.scalar(4))])
    dtype = call.element("output_datatype", 1)
    call.check_shape((length // 2 + 1, bands))
    if bands < 1 or length < 1 or rate < 1 or not 0 <= edges[0] < edges[1]:
        raise call.refusal("no bands", expected="positive numbers, edges upwards", got=(bands, length, rate, edges))
    low, high = (lt.array(edges / 700, on="cpu").map("log1p") * (2595 / math.log(10))).tolist()
    mel = np.arange(bands + 2) * ((high - low) / (bands + 2)) + low
    hertz = (lt.array(mel * (math.log(10) / 2595), on="cpu").map("expm1") * 700).numpy()
    bins = np.floor((length + 1) * hertz / rate).astype(np.int64)
    if bins.max() > length // 2:
        raise call.refusal("a band above half of the rate", expected=f"at most {rate / 2}", got=edges[1])
    found = np.zeros((length // 2 + 1, bands))
    for i in range(bands):
        left, centre, right = (int(b) for b in bins[i : i + 3])
        up, down = np.arange(left, centre + 1), np.arange(centre, right)
        found[up, i] = (up - left) / (centre - left) if centre > left else 1.0
        found[down, i] = (right - down) / max(right - centre, 1)
    return lt.cast(call.array(found), dtype)
