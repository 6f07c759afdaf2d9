"""Kernels of the Fourier transform: butterflies, stages, and the steps before and after them."""
