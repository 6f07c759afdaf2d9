"""Cases of the library: the kernels of patterns and tensors."""
