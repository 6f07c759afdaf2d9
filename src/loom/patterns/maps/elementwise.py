"""Short names of the commonest maps: ``gpu_add``, ``gpu_exp``, ``gpu_where``, ...

Layer: patterns. Each is ``gpu_map`` with its operation, and fuses with other maps over device arrays.
Invariant: nothing is computed here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from loom import tensor
from loom.core.arrays import read_array
from loom.core.dtype import DType, dtype_of
from loom.core.errors import ArgumentError, DTypeError
from loom.core.given import is_array
from loom.core.tracebacks import brief
from loom.ir.ops import OPS
from loom.patterns.maps.map import apply, is_number, map_elements, offer_map
from loom.patterns.tensor_rows import answer
from loom.runtime.port.device import Device
from loom.tensor import Tensor
from loom.tensor.ops import elementwise
from loom.tensor.record.graph import same

__all__ = [
    "gpu_abs", "gpu_add", "gpu_cast", "gpu_clip", "gpu_cos", "gpu_div", "gpu_equal", "gpu_erf", "gpu_exp",
    "gpu_gelu", "gpu_greater", "gpu_less", "gpu_log", "gpu_maximum", "gpu_minimum", "gpu_mul", "gpu_neg",
    "gpu_pow", "gpu_rsqrt", "gpu_sigmoid", "gpu_sin", "gpu_sqrt", "gpu_sub", "gpu_tanh", "gpu_where",
]  # fmt: skip


def _map_with(operation: str, name: str | None = None, *, shown: str) -> Callable[..., Any]:
    """Return ``gpu_map`` with one operation, called ``gpu_<name>``; ``shown``: arguments and elements of an example."""
    given, _, elements = shown.partition(" -> ")
    about = OPS[operation].doc if operation in OPS else f"``loom.{operation}``"

    where = f"gpu_{name or operation}"

    def map_data(data: Any, *args: Any, out: Any = None, on: str | Device | None = None) -> Any:
        operands = (data, *args)
        return map_elements(
            where, operation, operands, out, on, offer=lambda what: offer_map(what, made, operands, {}, on)
        )

    map_data.__name__ = map_data.__qualname__ = where
    map_data.__doc__ = (
        f'{about}, for every element: ``gpu_map(data, "{operation}", ...)``.\n\n'
        f">>> {map_data.__name__}({given}).tolist()\n{elements}\n"
    )
    made: Any = brief(map_data)
    return made


gpu_abs = _map_with("abs", shown="[-1.5, 2.0] -> [1.5, 2.0]")
gpu_add = _map_with("add", shown="[1, 2], [3, 4] -> [4, 6]")
gpu_cos = _map_with("cos", shown="[0.0] -> [1.0]")
gpu_div = _map_with("div", shown="[1.0, 3.0], 2.0 -> [0.5, 1.5]")
gpu_equal = _map_with("eq", "equal", shown="[1, 2], [1, 3] -> [True, False]")
gpu_erf = _map_with("erf", shown="[0.0, 1.0] -> [0.0, 0.8427007929497149]")
gpu_exp = _map_with("exp", shown="[0.0, 1.0] -> [1.0, 2.7182818284590455]")
gpu_gelu = _map_with("gelu", shown="[0.0, 1.0] -> [0.0, 0.8413447460685429]")
gpu_greater = _map_with("gt", "greater", shown="[1, 3], 2 -> [False, True]")
gpu_less = _map_with("lt", "less", shown="[1, 3], 2 -> [True, False]")
gpu_log = _map_with("log", shown="[1.0, 10.0] -> [0.0, 2.302585092994046]")
gpu_maximum = _map_with("max", "maximum", shown="[1, 3], 2 -> [2, 3]")
gpu_minimum = _map_with("min", "minimum", shown="[1, 3], 2 -> [1, 2]")
gpu_mul = _map_with("mul", shown="[1, 2], 3 -> [3, 6]")
gpu_neg = _map_with("neg", shown="[1, -2] -> [-1, 2]")
gpu_pow = _map_with("pow", shown="[2.0, 3.0], [3.0, 2.0] -> [8.0, 9.0]")
gpu_rsqrt = _map_with("rsqrt", shown="[4.0, 16.0] -> [0.5, 0.25]")
gpu_sigmoid = _map_with("sigmoid", shown="[0.0, 1.0] -> [0.5, 0.7310585786300049]")
gpu_sin = _map_with("sin", shown="[0.0, 1.0] -> [0.0, 0.8414709848078965]")
gpu_sqrt = _map_with("sqrt", shown="[9.0, 2.0] -> [3.0, 1.4142135623730951]")
gpu_sub = _map_with("sub", shown="[3, 5], 1 -> [2, 4]")
gpu_tanh = _map_with("tanh", shown="[0.0, 1.0] -> [0.0, 0.7615941559557649]")


def gpu_where(condition: Any, a: Any, b: Any, *, on: str | Device | None = None) -> Any:
    """Return the element of ``a`` where ``condition`` (bools) holds, else that of ``b``.

    ``a`` and ``b`` are arrays of the shape of ``condition`` and of one dtype, which the result has too, or numbers,
    which take that of the other; two numbers have the type of a list of them (int64, float64 or bool). Others broadcast
    and meet in one dtype, as in ``loom.tensor.where``.

    >>> gpu_where([True, False], [1.0, 2.0], 0.0).tolist()
    [1.0, 0.0]
    """
    a, b = (x[()] if is_array(x) and not x.ndim else x for x in (a, b))
    if is_number(a) and is_number(b):
        both, _ = read_array([a, b], "gpu_where")
        shape = condition.shape if isinstance(condition, Tensor) else np.shape(condition)
        a, b = np.full(shape, both[0], both.dtype), both[1]
    names = ("condition", "a", "b")
    return answer("gpu_where", _where, [condition, a, b], {"on": on}, names, apart=(0,), complexes=True, whole=True)


def _where(condition: object, a: Any, b: Any) -> Tensor:
    if not isinstance(condition, Tensor):
        raise ArgumentError(
            "gpu_where, condition",
            "not an array",
            expected="bools, one for each element",
            got=repr(condition),
            remedy="Write [True] for one, or Python's own if",
        )
    if not condition.dtype.is_bool:
        raise DTypeError("gpu_where, condition", "not bools", expected="bool", got=condition.dtype,
                         remedy="Compare first, as in x > 0")  # fmt: skip
    return elementwise.where(condition, a, b)


def gpu_clip(data: Any, low: Any, high: Any, *, out: Any = None, on: str | Device | None = None) -> Any:
    """Return the elements moved into ``low`` to ``high`` (numbers or arrays); NaN stays NaN.

    >>> gpu_clip([1.0, 5.0, -3.0], 0.0, 2.0).tolist()
    [1.0, 2.0, 0.0]
    """
    if out is not None:
        return apply("gpu_clip", _clip, (data, low, high), out=out, on=on)
    names = ("data", "low", "high")
    return answer("gpu_clip", tensor.clip, [data, low, high], {"on": on}, names, whole=True)


def _clip(x: Any, low: Any, high: Any) -> Any:
    return min(max(x, low), high)


def gpu_cast(data: Any, dtype: Any, *, on: str | Device | None = None) -> Any:
    """Return the elements converted to ``dtype``: floats to integers saturate, NaN gives 0.

    >>> import loom
    >>> gpu_cast([1.75, -2.5, 1e20], loom.i32).tolist()
    [1, -2, 2147483647]
    """
    wanted = dtype_of(dtype, "gpu_cast")
    if wanted.is_complex:
        raise DTypeError("gpu_cast", "kernels have no complex numbers", expected="such as loom.f32", got=wanted,
                         remedy="Write loom.array(x, dtype=)")  # fmt: skip
    if wanted.is_vector:
        raise DTypeError("gpu_cast", "not a type of elements", expected="such as loom.f32", got=repr(dtype))
    return answer("gpu_cast", _cast, [data], {"dtype": wanted, "on": on})


def _cast(x: Tensor, *, dtype: DType) -> Tensor:
    return same(x) if x.dtype == dtype else elementwise.cast(x, dtype)
