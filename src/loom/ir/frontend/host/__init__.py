"""What of Python is evaluated while a kernel is compiled, and nothing else of the host is.

Layer: ir. ``plain`` has the values that run no code of others, ``allowed`` the functions that are known to be pure,
``constantvalues`` computes elementary functions of constants by Loom's own definitions.
"""
