"""Compiles typed Python functions to the IR: ``@kernel``, the annotations and the functions inside kernels."""
