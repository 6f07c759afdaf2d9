"""Tensors by index and by order: taken, put, sorted, searched, counted. Layer: tensor."""
