"""Patterns beside scipy, numpy and pandas, over drawn arguments."""
