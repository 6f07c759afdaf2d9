"""Values, indexes and annotations of kernels as they are translated. Layer: ir."""
