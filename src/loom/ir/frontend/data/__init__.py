"""What kernels know of data beyond numbers: records, axes, tables of constants."""
