"""Factorisations, small products, sparse matrices."""
