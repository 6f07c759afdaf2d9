"""Which kernels, in which order, on which memory: how a computation is recorded for a device."""
