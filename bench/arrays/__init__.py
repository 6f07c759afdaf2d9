"""Patterns and tensor operations beside numpy, SciPy and their like."""
