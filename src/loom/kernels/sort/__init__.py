"""Sorting: keys, stable radix sorts, selection and search."""
