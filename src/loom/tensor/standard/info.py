"""What ``loom.tensor`` is as a namespace of the array API standard: version, devices, default types.

Layer: tensor. Chapter "Inspection" of the array API standard 2024.12. Invariant: what is told here is asked of those
who decide it.
"""

from __future__ import annotations

from typing import Any

from loom.core.arrays import MOST_AXES
from loom.core.dtype import DType, i64
from loom.core.given import is_list
from loom.core.promotion import default_dtype
from loom.runtime.port.device import Device
from loom.runtime.registry import device as device_of
from loom.runtime.registry import devices
from loom.tensor.standard.dtypes import NAMES, isdtype

__all__ = ["VERSION", "VERSIONS", "Info", "info"]

VERSION = "2024.12"
"""Of the standard."""
VERSIONS = ("2021.12", "2022.12", "2023.12", VERSION)
"""Those whose functions are here: each has those of the earlier ones."""
_LACKING = ("float16", "bfloat16")
"""Types that the standard does not know."""


class Info:
    """Answers of ``__array_namespace_info__()``."""

    def capabilities(self) -> dict[str, Any]:
        """Return what it can do besides what every library must."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": MOST_AXES}

    def default_device(self) -> Device:
        """Return the device that is taken where none is named."""
        return device_of(None)

    def devices(self) -> list[Device]:
        """Return every usable device of this machine."""
        return [device_of(each.name) for each in devices() if not each.refused]

    def default_dtypes(self, *, device: str | Device | None = None) -> dict[str, DType]:
        """Return the types that Python's numbers, and indices, have by themselves, the same on every device."""
        device_of(device)
        return {
            "real floating": default_dtype(float), "complex floating": default_dtype(complex),
            "integral": default_dtype(int), "indexing": i64,
        }  # fmt: skip

    def dtypes(self, *, device: str | Device | None = None, kind: Any = None) -> dict[str, DType]:
        """Return the types of the standard by name, those of a kind or of several in a tuple."""
        device_of(device)
        known = {name: dtype for name, dtype in NAMES.items() if name not in _LACKING}
        kinds = kind if kind is None or is_list(kind) else (kind,)
        return {name: dtype for name, dtype in known.items() if kinds is None or isdtype(dtype, tuple(kinds))}


def info() -> Info:
    """Return what tells about the namespace."""
    return Info()
