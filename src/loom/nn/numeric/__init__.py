"""Numeric types of storage: weights of a network as they are after being stored in one, and what that costs.

Layer: nn. Invariant: what is stored is what is computed with: a network that was converted has the decoded weights.
"""

from loom.core.narrow import RULES, TYPES, NumericKind, NumericType, StoredArray, numeric_type, store
from loom.nn.numeric.benchmark import TypeReport, TypeScore, benchmark_types
from loom.nn.numeric.layers import benchmark_layers
from loom.nn.numeric.report import TensorError, error_of
from loom.nn.numeric.storage import StoredWeights, store_weights

__all__ = [
    "RULES",
    "TYPES",
    "NumericKind",
    "NumericType",
    "StoredArray",
    "StoredWeights",
    "TensorError",
    "TypeReport",
    "TypeScore",
    "benchmark_layers",
    "benchmark_types",
    "error_of",
    "numeric_type",
    "store",
    "store_weights",
]  # fmt: skip
