"""The f64 functions give a GPU's driver no room: the interpreter's bits, on inputs of every exponent."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from functions.ulps import sample_operands
from loom.core.dtype import f64
from loom.core.errors import DeviceError
from loom.kernels.functions import FUNCTIONS, function
from loom.patterns.maps.map import gpu_map


@pytest.mark.needs("threads")
@pytest.mark.parametrize("part", range(4))
def test_the_bits_of_the_interpreter(part: int, device: Any) -> None:
    try:
        gpu_map(np.ones(1), "sqrt", on=device)
    except DeviceError as error:
        pytest.skip(f"no f64 on this device: {error}")
    for name in sorted(FUNCTIONS)[part::4]:
        drawn = sample_operands(name, f64, size=100 if function(name).arity == 1 else 4000)
        operands = [np.ascontiguousarray(o[::13]) for o in drawn]
        there, here = (np.asarray(gpu_map(operands[0], name, *operands[1:], on=on)) for on in (device, "interp"))
        same = there.view(np.uint64) == here.view(np.uint64)
        assert (same | np.isnan(there) & np.isnan(here)).all(), name  # a NaN's sign and payload say nothing
