"""Folds: sums in the canonical order, extremes, deviations; of rows, columns and groups."""
