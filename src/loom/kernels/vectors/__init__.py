"""Vectors that are searched: how they lie in memory, and how they are compared with queries."""
