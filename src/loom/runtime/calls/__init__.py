"""Kernels called as functions: ``saxpy(x, y, a=2.0)``.

Layer: runtime. ``kernels`` is the decorator as users have it, ``interface`` what a kernel takes by name, ``data`` where
the device finds what it is given, ``launch`` one call; ``knownlengths`` and ``trials`` which calls are looked at.
"""
