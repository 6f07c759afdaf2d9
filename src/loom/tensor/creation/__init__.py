"""Tensors made of numbers, shapes and the arrays of others."""
