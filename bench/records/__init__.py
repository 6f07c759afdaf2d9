"""Vectors and tables."""
