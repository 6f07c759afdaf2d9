"""Attention over keys and values that are kept in pages.

Layer: kernels. Invariant: a row's result has the bits of the whole sequence's attention (docs/numerics.md, section 2).
"""
