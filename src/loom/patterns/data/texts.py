"""Texts as keys: numbered by their order, so that kernels group and join numbers.

Layer: patterns. Invariant: codes are in the order of the texts by code points, so that what is ascending in codes is
ascending in texts.
"""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import numpy as np

from loom.core.errors import DTypeError, ShapeError
from loom.core.given import is_array, is_list
from loom.runtime.port.device import Device
from loom.tensor.arrays.tensor import array

__all__ = ["Codes", "factorize", "is_text", "number_together"]


class Codes(NamedTuple):
    """What ``factorize`` gives: the number of each text, i64, and the different texts, ascending."""

    codes: Any
    values: np.ndarray[Any, Any]


def is_text(keys: Any) -> bool:
    """Tell whether keys are texts: a numpy array of them, a list, or a column of polars or pyarrow."""
    if isinstance(keys, np.ndarray):
        found = cast("np.ndarray[Any, Any]", keys)
        return found.dtype.kind in "UST" or (
            found.dtype == object and found.size > 0 and isinstance(found.flat[0], str)
        )
    if is_list(keys):
        return len(keys) > 0 and isinstance(keys[0], str)
    kind = getattr(keys, "dtype", getattr(keys, "type", ""))
    kind = getattr(getattr(kind, "categories", None), "dtype", kind)
    return _is_column(keys) and "str" in str(kind).lower()


def _is_column(keys: Any) -> bool:
    return hasattr(keys, "to_pylist") or (hasattr(keys, "to_list") and hasattr(keys, "dtype"))


def factorize(keys: Any, *, on: str | Device | None = None) -> Codes:
    """Return a number for each of a series of texts, and the different texts in the order of their numbers.

    ``keys``: texts in a list, a numpy array, or a column of pandas, polars or pyarrow. The codes are numpy's int64,
    with ``on`` an array of that device. DTypeError for what is no text, missing ones among them.

    Args:
        keys: Texts (n,): a list, an array of numpy, or a column of pandas, polars or pyarrow.
        on: Device, or its name, of the codes; None: an array of numpy.

    Returns:
        ``Codes``: codes (n,) of int64, and the different texts, ascending.

    Raises:
        DTypeError: Not texts, or a missing one among them; not a device.
        ShapeError: Not one dimension.

    >>> codes, values = factorize(["oak", "elm", "oak"])
    >>> codes.tolist(), values.tolist()
    ([1, 0, 1], ['elm', 'oak'])
    """
    values, codes = np.unique(_as_array(keys, "data.factorize"), return_inverse=True)
    codes = codes.reshape(-1).astype(np.int64, copy=False)
    return Codes(codes if on is None else array(codes, on=on), values)


def number_together(
    left: Any, right: Any, where: str, names: tuple[str, str] = ("left_keys", "right_keys")
) -> tuple[Any, Any]:
    """Return codes of two series of texts, equal where the texts are."""
    a, b = (_as_array(side, f"{where}, {name}") for side, name in zip((left, right), names, strict=True))
    codes = np.unique(np.concatenate([a, b]), return_inverse=True)[1].reshape(-1).astype(np.int64, copy=False)
    return codes[: a.size], codes[a.size :]


def _as_array(keys: Any, where: str) -> np.ndarray[Any, Any]:
    if _is_column(keys):
        keys = keys.to_pylist() if hasattr(keys, "to_pylist") else keys.to_list()
    try:
        found: np.ndarray[Any, Any] = np.asarray(keys) if len(keys) else np.empty(0, "U1")
    except (TypeError, ValueError):
        raise DTypeError(where, "not a series of texts", expected="texts, in a list or a column", got=repr(keys)[:80],
                         remedy="Pass one column")  from None  # fmt: skip
    if found.ndim != 1:
        raise ShapeError(where, "not a series", expected="one dimension", got=found.shape, remedy="Pass one column")
    if found.dtype.kind in "USa":
        mixed = is_list(keys) and any(not isinstance(k, (str, bytes)) for k in keys)
    else:
        mixed = any(not isinstance(k, str) for k in found.tolist())
    if mixed:
        raise DTypeError(where, "not all of it is text", expected="texts", got="numbers or missing ones among them",
                         remedy="Leave them out, or name what is missing")  # fmt: skip
    if not is_array(keys) and any(k[-1:] in ("\0", b"\0") for k in keys):
        raise DTypeError(where, "a text ends in a NUL", expected="texts that numpy can hold",
                         got="one that it shortens", remedy="Strip it")  # fmt: skip
    return found.astype(str) if found.dtype.kind != "S" else np.char.decode(found, "utf-8")
