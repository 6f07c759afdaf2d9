"""What documents are made of, as type checkers see it.

Layer: nn. Invariant: what ``text.load`` returns is a ``JsonValue``; tuples are in documents made in Python alone.
"""

from __future__ import annotations

from typing import TypeAlias

__all__ = ["JsonObject", "JsonValue"]

JsonObject: TypeAlias = "dict[str, JsonValue]"
JsonValue: TypeAlias = "JsonObject | list[JsonValue] | tuple[JsonValue, ...] | str | int | float | None"
