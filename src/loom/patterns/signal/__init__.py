"""``loom.signal``: Fourier transforms, convolution, windows and filters."""

from typing import Any

from loom.core.names import missing_name
from loom.patterns.signal.convolve import convolve, correlate, ema, fir_filter
from loom.patterns.signal.fft import fft, ifft, irfft, rfft
from loom.patterns.signal.windows import (
    bartlett,
    blackman,
    blackman_harris,
    boxcar,
    firwin,
    hamming,
    hann,
    kaiser,
    window,
)

__all__ = [
    "bartlett",
    "blackman",
    "blackman_harris",
    "boxcar",
    "convolve",
    "correlate",
    "ema",
    "fft",
    "fir_filter",
    "firwin",
    "hamming",
    "hann",
    "ifft",
    "irfft",
    "kaiser",
    "rfft",
    "window",
]


def __getattr__(name: str) -> Any:
    raise missing_name("loom.signal", name, __all__)
