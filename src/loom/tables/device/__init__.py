"""Columns on devices: conditions and folds as kernels."""
