"""The schema of an operator in an opset, by ONNX's standard: the types that it takes, its attributes, its body.

Layer: onnx. Invariant: what the installed package does not know is None, or no types, never a guess.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from loom.core.dtype import DType
from loom.core.late.dataclass import dataclass
from loom.onnx.values import onnx

__all__ = ["first_opset", "formals", "has_attribute", "newest_opset", "operator_types", "schema_of", "tensor_type"]


_NAMES = {"f32": "float", "f64": "double", "bf16": "bfloat16", "c64": "complex64", "c128": "complex128"}
"""Dtypes that are not called as numpy's of their elements."""


@dataclass(frozen=True, slots=True)
class _Formal:
    """An input as the standard says it: its types of tensors, and the name of the type that others share."""

    allowed: frozenset[str]
    same: str


def tensor_type(dtype: DType) -> str:
    """Return what schemas call a tensor of a dtype."""
    return f"tensor({_NAMES.get(dtype.name) or dtype.numpy.name})"


@lru_cache(maxsize=4096)
def schema_of(kind: str, opset: int, domain: str = "") -> Any:
    """Return the schema of an operator in an opset, None if it has none."""
    if not 0 < opset < 1 << 31:
        return None
    try:
        return onnx.defs.get_schema(kind, opset, domain)
    except (onnx.defs.SchemaError, TypeError):  # a name that is no text
        return None


@lru_cache(maxsize=4096)
def formals(kind: str, opset: int, domain: str = "") -> tuple[_Formal, ...]:
    """Return an operator's inputs as the standard has them, none of what it does not know."""
    schema = schema_of(kind, opset, domain)
    return () if schema is None else tuple(map(_formal, schema.inputs))


def _formal(told: Any) -> _Formal:
    is_shared = told.is_homogeneous and not told.type_str.startswith("tensor(")
    return _Formal(frozenset(t for t in told.types if t.startswith("tensor(")), told.type_str if is_shared else "")


def operator_types(kind: str, opset: int, place: int) -> frozenset[str]:
    """Return the types of tensors that an operator takes at a place; empty if that is not told."""
    known = formals(kind, opset)
    return known[min(place, len(known) - 1)].allowed if known else frozenset()


def has_attribute(kind: str, opset: int, attribute: str) -> bool:
    """Return whether an operator has an attribute in an opset."""
    schema = schema_of(kind, opset)
    return schema is not None and attribute in schema.attributes


def newest_opset() -> int:
    """Return the newest opset that the package ``onnx`` knows."""
    return int(onnx.defs.onnx_opset_version())


def first_opset(kind: str) -> int | None:
    """Return the first opset that has an operator."""
    return next((n for n in range(1, newest_opset() + 1) if schema_of(kind, n) is not None), None)
