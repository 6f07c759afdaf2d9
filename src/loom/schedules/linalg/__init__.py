"""Which kernels factor matrices, in which order, on which memory. Layer: schedules."""
