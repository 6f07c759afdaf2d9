"""Networks from one format to another: ``convert_model``, as users call it.

Layer: nn. Invariant: a door alone; ``loom.nn.formatconversion`` does it.
"""

from loom.nn.formatconversion import FORMATS, Converted, convert_model

__all__ = ["FORMATS", "Converted", "convert_model"]
