"""Scans: running sums and extremes, of rows, of columns, of marked segments."""
