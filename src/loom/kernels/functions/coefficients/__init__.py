"""Fitted coefficients, written by ``tools/fit``."""
