"""Calls of tensor operations over whatever patterns take.

Layer: patterns, over tensors. The result is a tensor if one was given, else a numpy array (a number for shape ()).
Invariant: all operands have one dtype and are on one device.
"""

from __future__ import annotations

from typing import Any

from loom import tensor
from loom.core.arrays import read_array
from loom.core.dtype import DType, f64
from loom.core.errors import DTypeError
from loom.patterns.calling.fallback import home_of
from loom.runtime.port.device import Device
from loom.tensor import Tensor

__all__ = ["Tensors"]


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
        counted: bool = False,
        optional: tuple[str, ...] = (),
        **given: Any,
    ) -> None:
        self.where = where
        self._kept = any(isinstance(data, Tensor) for data in given.values())
        self.device = home_of(where, on, given.values())
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
        found, dtype = read_array(data, place)
        return tensor.array(found, dtype, on=self.device)

    def _check_types(self, integers: bool) -> None:
        wanted: DType | None = None
        kinds = "an integer or a float" if integers else "f16, bf16, f32 or f64"
        for name, made in self.given.items():
            usable = made.dtype.is_float or (integers and made.dtype.is_integer)
            if not usable or (wanted is not None and made.dtype != wanted):
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
