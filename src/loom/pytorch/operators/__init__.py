"""What records ATen's operators, by family. Layer: pytorch. Invariant: importing a family enters its operators."""

from importlib import import_module

FAMILIES = (
    "attention", "creation", "elementwise", "indexing", "linalg", "losses", "norms", "products",
    "random", "recurrent", "reductions", "shaping", "spectra", "windows",
)  # fmt: skip
__all__ = ["FAMILIES"]

for _family in FAMILIES:
    import_module(f"{__name__}.{_family}")
