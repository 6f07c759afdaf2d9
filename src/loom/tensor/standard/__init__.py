"""The Python array API standard 2024.12 by chapter, for ``loom.tensor``.

Layer: tensor. Source: https://data-apis.org/array-api/2024.12. Invariant: signatures are the standard's or supersets
of it, and every function only records.
"""
