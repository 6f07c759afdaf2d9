"""One driver per kind of device: allocate, compile and load kernels, run recorded programs."""
