"""Fourier transforms of tensors, recorded and differentiable: the array API standard's ``fft``. Layer: tensor."""

from loom.core.tracebacks import brief_names
from loom.tensor.fft.frequencies import fftfreq, fftshift, ifftshift, rfftfreq
from loom.tensor.fft.transforms import fft, fftn, hfft, ifft, ifftn, ihfft, irfft, irfftn, rfft, rfftn

__all__ = [
    "fft", "fftfreq", "fftn", "fftshift", "hfft", "ifft", "ifftn", "ifftshift", "ihfft", "irfft", "irfftn", "rfft",
    "rfftfreq", "rfftn",
]  # fmt: skip

brief_names(globals(), __all__)
