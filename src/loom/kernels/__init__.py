"""The kernel library: factories that give kernels for given types and device capabilities, one family a file."""
