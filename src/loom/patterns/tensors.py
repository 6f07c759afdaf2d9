"""Calls of tensor operations over whatever patterns take.

Layer: patterns, over tensors. The result is a tensor if one was given, else a numpy array (a number for shape ()).
Invariant: all operands have one dtype, or some are complex, and are on one device.
"""

from __future__ import annotations

from typing import Any

from loom import tensor
from loom.core.arrays import read_array
from loom.core.dtype import DType, f64
from loom.core.errors import DTypeError
from loom.core.given import is_list
from loom.runtime.port.device import Device
from loom.runtime.registry import device
from loom.tensor import Tensor

__all__ = ["Tensors", "is_complex"]


def is_complex(data: Any) -> bool:
    """Tell whether what a pattern is given has complex elements."""
    if isinstance(data, Tensor):
        return data.dtype.is_complex
    if is_list(data):
        return any(isinstance(each, complex) or is_complex(each) for each in data)
    return getattr(getattr(data, "dtype", None), "kind", "") == "c"


class Tensors:
    """See the module. ``given`` has the tensors by the names of their arguments, without ``optional`` ones of None.

    ``integers`` are taken as they are; with ``counted`` they, and bools, become f64, as statistics have it.
    """

    def __init__(
        self,
        where: str,
        on: str | Device | None,
        *,
        integers: bool = False,
        complexes: bool = False,
        counted: bool = False,
        optional: tuple[str, ...] = (),
        **given: Any,
    ) -> None:
        self.where = where
        self._complexes = complexes
        self._kept = any(isinstance(data, Tensor) for data in given.values())
        homes = [data.device for data in given.values() if isinstance(data, Tensor) and data.device is not None]
        self.device = device(on) if on is not None or not homes else homes[0]
        self.given = {name: self._tensor(name, data) for name, data in given.items()
                      if data is not None or name not in optional}  # fmt: skip
        if counted:
            self.given = {name: x.astype(f64) if x.dtype.is_integer or x.dtype.is_bool else x
                          for name, x in self.given.items()}  # fmt: skip
        self._check_types(integers)

    def _tensor(self, name: str, data: Any) -> Tensor:
        if isinstance(data, Tensor):
            return data
        place = f"{self.where}, {name}"
        found, dtype = read_array(data, place, complexes=self._complexes)
        return tensor.array(found, dtype, on=self.device)

    def _check_types(self, integers: bool) -> None:
        wanted: DType | None = None
        kinds = "an integer or a float" if integers else "f16, bf16, f32 or f64"
        if self._complexes:
            kinds += ", c64 or c128"
        for name, made in self.given.items():
            is_complex = self._complexes and made.dtype.is_complex
            usable = made.dtype.is_float or is_complex or (integers and made.dtype.is_integer)
            alike = wanted is None or made.dtype == wanted or is_complex or wanted.is_complex
            if not usable or not alike:
                raise DTypeError(
                    f"{self.where}, {name}", "unsupported dtype", expected=wanted or kinds,
                    got=made.dtype, remedy="Convert first, for example with array.astype(numpy.float32)",
                )  # fmt: skip
            wanted = made.dtype

    def result(self, made: Tensor) -> Any:
        """Return a result to the caller as what was given."""
        if self._kept:
            return made
        return made.numpy() if made.shape else made.numpy()[()]
