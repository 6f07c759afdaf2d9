"""The numbers of a model, by the names that config.json has for them, whatever file they come from.

Layer: models. Invariant: a value of another type or range than it must have is refused by its name, and so is one that
is asked for, is not there and has no default.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any, cast

from loom.core.errors import ArgumentError
from loom.core.given import is_mapping

__all__ = ["ModelSettings"]

_MOST = (1 << 31) - 1
_ACTIVATIONS = {
    "gelu": "gelu", "gelu_python": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_fast": "gelu_tanh", "gelu_python_tanh": "gelu_tanh", "silu": "swish", "swish": "swish", "relu": "relu",
    "tanh": "tanh", "linear": "linear", "sigmoid": "sigmoid", "mish": "mish",
}  # fmt: skip
"""What transformers calls a function, and what Loom does."""


class ModelSettings:
    """Values by name. ``where``: what messages say they are of."""

    def __init__(self, values: Mapping[str, Any], where: str) -> None:
        self.values, self.where = dict(values), where

    def has(self, *keys: str) -> bool:
        """Tell whether one of these is given, and not null."""
        return any(self.values.get(key) is not None for key in keys)

    def whole(self, key: str, default: int | None = None, *, least: int = 1) -> int:
        """Return an integer from ``least``."""
        value = self._value(key, default)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= _MOST:
            raise self.wrong(key, f"an integer from {least} to {_MOST}")
        return value

    def real(self, key: str, default: float | None = None, *, above: float = 0.0) -> float:
        """Return a finite number above a limit."""
        value = self._value(key, default)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value) or value <= above:
            raise self.wrong(key, f"a finite number above {above:g}")
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        """Return true or false."""
        value = self._value(key, default)
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false")
        return value

    def text(self, key: str, default: str | None = None) -> str:
        """Return a text."""
        value = self._value(key, default)
        if not isinstance(value, str):
            raise self.wrong(key, "a text")
        return value

    def texts(self, key: str) -> list[str]:
        """Return a list of texts, [] where there is none."""
        value = self.values.get(key)
        if value is None:
            return []
        listed = cast("list[Any]", value) if isinstance(value, list) else [None]
        if not all(isinstance(each, str) for each in listed):
            raise self.wrong(key, "a list of texts")
        return [str(each) for each in listed]

    def within(self, key: str) -> ModelSettings:
        """Return the settings of an object, empty where there is none."""
        value = self.values.get(key)
        if value is not None and not is_mapping(value):
            raise self.wrong(key, "an object")
        return ModelSettings({} if value is None else value, f"{self.where}, {key!r}")

    def activation(self, key: str, default: str) -> str:
        """Return Loom's name of a function."""
        name = self.text(key, default)
        if name not in _ACTIVATIONS:
            raise self.wrong(key, " or ".join(sorted(_ACTIVATIONS)))
        return _ACTIVATIONS[name]

    def require(self, key: str, allowed: Collection[Any], remedy: str = "") -> None:
        """See that a value, if it is there, is one of those that Loom computes."""
        value = self.values.get(key)
        if value is not None and value not in allowed:
            raise self.wrong(key, " or ".join(map(repr, allowed)), remedy or "Loom has no layer for it")

    def wrong(self, key: str, expected: str, remedy: str = "") -> ArgumentError:
        """Return the error of a value."""
        return ArgumentError(f"{self.where}, {key!r}", "unusable" if key in self.values else "missing",
                             expected=expected, got=repr(self.values.get(key))[:100],
                             remedy=remedy or f"Correct the file, or pass config={{{key!r}: ...}}")  # fmt: skip

    def _value(self, key: str, default: Any) -> Any:
        value = self.values.get(key)
        if value is None:
            value = default
        if value is None:
            raise ArgumentError(f"{self.where}, {key!r}", "nothing says how the network is made", expected=key,
                                got="nothing", remedy=f"Pass config={{{key!r}: ...}}")  # fmt: skip
        return value
