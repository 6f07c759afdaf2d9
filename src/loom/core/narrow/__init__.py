"""Types that numbers are stored in, narrow ones among them: floats of 8 and 4 bits, integers of 64 to 2, signs.

Layer: core (numpy alone). Invariant: each type has one codec, here; what is decoded is exact.
"""

from loom.core.narrow.scaling import RULES, store
from loom.core.narrow.stored import StoredArray
from loom.core.narrow.types import TYPES, NumericKind, NumericType, numeric_type

__all__ = ["RULES", "TYPES", "NumericKind", "NumericType", "StoredArray", "numeric_type", "store"]
