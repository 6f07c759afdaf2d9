"""What of Python is evaluated while a kernel is compiled, and nothing else of the host is.

Layer: ir. ``values`` has the values that run no code of others, ``calls`` the functions that are known to be pure,
``functions`` computes elementary functions of constants by Loom's own definitions.
"""
