"""How lanes reach memory in ways of their own: short vectors, private arrays, atomics."""
