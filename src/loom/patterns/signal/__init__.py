"""``loom.signal``: Fourier transforms, convolution, windows and filters.

Stability: stable.
"""

from typing import Any

from loom.core.names import missing_name
from loom.core.tracebacks import brief_names
from loom.patterns.signal.convolve import convolve, correlate, ema, fir_filter
from loom.patterns.signal.design import butter
from loom.patterns.signal.fft import fft, ifft, irfft, rfft
from loom.patterns.signal.recursive import filtfilt, lfilter, sosfilt
from loom.patterns.signal.shapes import find_peaks, medfilt, resample, savgol_filter
from loom.patterns.signal.spectra import (
    Spectrum,
    detrend,
    hilbert,
    istft,
    periodogram,
    spectrogram,
    stft,
    welch,
)
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
    "Spectrum",
    "bartlett",
    "blackman",
    "blackman_harris",
    "boxcar",
    "butter",
    "convolve",
    "correlate",
    "detrend",
    "ema",
    "fft",
    "filtfilt",
    "find_peaks",
    "fir_filter",
    "firwin",
    "hamming",
    "hann",
    "hilbert",
    "ifft",
    "irfft",
    "istft",
    "kaiser",
    "lfilter",
    "medfilt",
    "periodogram",
    "resample",
    "rfft",
    "savgol_filter",
    "sosfilt",
    "spectrogram",
    "stft",
    "welch",
    "window",
]


brief_names(globals(), __all__)


def __getattr__(name: str) -> Any:
    raise missing_name("loom.signal", name, __all__)
