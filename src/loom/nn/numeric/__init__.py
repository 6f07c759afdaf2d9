"""Numeric types of storage: weights of a network as they are after being stored in one, and what that costs.

Layer: nn. Invariant: what is stored is what is computed with: a network that was converted has the decoded weights.

Stability: new.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from loom.core.names import missing_name
from loom.core.narrow import RULES, TYPES, NumericKind, NumericType, StoredArray, numeric_type, store
from loom.formats.tensor_error import TensorError, error_of

if TYPE_CHECKING:
    from loom.nn.numeric.benchmark import TypeReport, TypeScore, benchmark_types
    from loom.nn.numeric.layers import benchmark_layers
    from loom.nn.numeric.storage import StoredWeights, store_weights

__all__ = [
    "RULES", "TYPES", "NumericKind", "NumericType", "StoredArray", "StoredWeights", "TensorError", "TypeReport",
    "TypeScore", "benchmark_layers", "benchmark_types", "error_of", "numeric_type", "store", "store_weights",
]  # fmt: skip

_HOMES = {
    "TypeReport": "benchmark", "TypeScore": "benchmark", "benchmark_types": "benchmark", "benchmark_layers": "layers",
    "StoredWeights": "storage", "store_weights": "storage",
}  # fmt: skip
"""Name -> its file, loaded when first used: files of weights are read before there are networks to measure."""


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"loom.nn.numeric.{_HOMES[name]}"), name)
    raise missing_name("loom.nn.numeric", name, __all__)
