"""Analyses and rewrites of kernels, each a pure function; none knows a target."""
