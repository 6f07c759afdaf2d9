"""Functions of any number of operands are proved like others: one of three, registered here, in f32 and in f64.

Oracle: mpmath. The function stands in no kernel of Loom; its definitions are right, or wrong in one operand.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mpmath as mp
import numpy as np
import pytest

from functions import references, test_ulps
from functions.references import Reference
from functions.ulps import sample_operands
from loom.core.dtype import DType, f32, f64
from loom.ir.frontend.elementary import Elementary, elementary
from loom.ir.frontend.intrinsics import select, sqrt
from loom.kernels.functions import FUNCTIONS, function, power
from loom.patterns.maps import map as map_module
from loom.proof.cases import cases_of
from loom.tensor.ops.elementwise import MAPS
from loom.tensor.record.graph import NodeKind, TensorOp

_TYPES = pytest.mark.parametrize("dtype", [f32, f64], ids=str)


def _hypot3_f32(x: Any, y: Any, z: Any) -> Any:
    total = f64(x) * f64(x) + f64(y) * f64(y) + f64(z) * f64(z)
    infinite = (abs(x) == math.inf) | (abs(y) == math.inf) | (abs(z) == math.inf)
    return select(infinite, f32(math.inf), f32(sqrt(total)))


def _hypot3_f64(x: Any, y: Any, z: Any) -> Any:
    longest = max(abs(x), abs(y), abs(z))
    scale = select(longest > 2.0**500, f64(2.0**-600), select(longest < 2.0**-400, f64(2.0**600), f64(1.0)))
    a, b, c = x * scale, y * scale, z * scale
    infinite = (abs(x) == math.inf) | (abs(y) == math.inf) | (abs(z) == math.inf)
    return select(infinite, f64(math.inf), sqrt(a * a + b * b + c * c) / scale)


def _third_is_off_f32(x: Any, y: Any, z: Any) -> Any:
    return _hypot3_f32(x, y, z * (1.0 + 2.0**-21))


def _third_is_off_f64(x: Any, y: Any, z: Any) -> Any:
    return _hypot3_f64(x, y, z * (1.0 + 2.0**-50))


def _plus_f32(x: Any, y: Any, z: Any) -> Any:
    return f32(f64(x) * f64(y) + f64(z))


def _rounded_twice_f32(x: Any, y: Any, z: Any) -> Any:
    return x * y + z


def _zero_is_off_f64(x: Any, y: Any, z: Any) -> Any:
    return select(y == 0.0, f64(1.0 + 2.0**-50), f64(1.0)) * _hypot3_f64(x, y, z)


def _register(monkeypatch: pytest.MonkeyPatch, reference: Reference, **definitions: tuple[Any, float]) -> str:
    """Make a function of three operands one of the library's, for a test."""

    def stub(x: Any, y: Any, z: Any) -> Any: ...

    name = f"sample_{'_'.join(fn.__name__ for fn, _ in definitions.values())}"
    stub.__name__ = name
    stub.__doc__ = "A function of three operands."
    monkeypatch.setitem(FUNCTIONS, name, "power")
    monkeypatch.setattr(power, name, elementary(**definitions)(stub), raising=False)
    monkeypatch.setitem(references.REFERENCES, name, reference)
    monkeypatch.setattr(map_module, "ELEMENTWISE", (*map_module.ELEMENTWISE, name))
    monkeypatch.setitem(MAPS, name, TensorOp(name, NodeKind.MAP, operation=name))
    return name


_HYPOT3 = Reference(
    lambda x, y, z: np.hypot(np.hypot(x, y), z), lambda x, y, z: mp.sqrt(x * x + y * y + z * z), (1.0, 2.0**60)
)


@_TYPES
def test_a_function_of_three_operands_is_proved(dtype: DType, monkeypatch: pytest.MonkeyPatch) -> None:
    name = _register(monkeypatch, _HYPOT3, f32=(_hypot3_f32, 0.51), f64=(_hypot3_f64, 2.5))
    worst = test_ulps.sampled(name, dtype)
    assert 0.5 <= worst.ulps <= function(name).ulps[dtype], worst


@_TYPES
def test_an_error_in_the_third_operand_is_found(dtype: DType, monkeypatch: pytest.MonkeyPatch) -> None:
    name = _register(monkeypatch, _HYPOT3, f32=(_third_is_off_f32, 0.51), f64=(_third_is_off_f64, 2.5))
    worst = test_ulps.sampled(name, dtype)
    assert worst.ulps > function(name).ulps[dtype]
    assert len(worst.inputs) == 3


def test_an_error_beside_zeros_alone_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    name = _register(monkeypatch, _HYPOT3, f64=(_zero_is_off_f64, 2.5))
    assert test_ulps.sampled(name, f64).ulps > 2.5


def test_what_cancels_is_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    """``x y + z`` of one rounding passes; of two it is off by half of all bits, where it cancels."""
    reference = Reference(lambda x, y, z: x * y + z, lambda x, y, z: x * y + z)
    right = _register(monkeypatch, reference, f32=(_plus_f32, 0.51))
    assert test_ulps.sampled(right, f32).ulps <= 0.51
    wrong = _register(monkeypatch, reference, f32=(_rounded_twice_f32, 0.51))
    assert test_ulps.sampled(wrong, f32).ulps > 2.0**18


@pytest.mark.parametrize(("arity", "rows"), [(1, 1), (2, 400), (3, 2_500), (5, 2_500)])
def test_operands_are_as_many_as_the_function_takes(arity: int, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    stubs: dict[int, Callable[..., Any]] = {
        1: lambda a: a, 2: lambda a, b: a, 3: lambda a, b, c: a, 5: lambda a, b, c, d, e: a,
    }  # fmt: skip
    monkeypatch.setitem(FUNCTIONS, "sample_of", "power")
    monkeypatch.setattr(power, "sample_of", elementary(f32=(_hypot3_f32, 1))(stubs[arity]), raising=False)
    monkeypatch.setitem(references.REFERENCES, "sample_of", _HYPOT3)
    operands = sample_operands("sample_of", f32, size=10_000)
    assert len(operands) == arity
    assert len({o.shape for o in operands}) == 1
    zeros = np.all([(o == 0) | np.isinf(o) | np.isnan(o) | (abs(o) >= 0.5) for o in operands], axis=0)
    assert np.count_nonzero(zeros) >= rows, "specials meet specials"
    if arity > 1:
        assert len({o.tobytes() for o in operands}) == arity


def test_a_function_of_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FUNCTIONS, "sample_of", "power")
    monkeypatch.setattr(power, "sample_of", elementary(f32=(_hypot3_f32, 1))(lambda: 0), raising=False)
    with pytest.raises(AssertionError, match="sample_of takes nothing"):
        sample_operands("sample_of", f32)


def test_the_proofs_inputs_meet_at_all_magnitudes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exponents of the second and the third operand are no function of each other."""
    name = _register(monkeypatch, _HYPOT3, f32=(_hypot3_f32, 0.51))
    (case,) = (each for each in cases_of(2) if each.name.startswith(name))
    _, y, z = (np.frexp(np.nan_to_num(o[: len(o) // 2], posinf=0, neginf=0))[1] for o in case.inputs())
    assert np.unique(np.stack([y, z]), axis=1).shape[1] > 20_000


def test_the_sample_functions_are_gone() -> None:
    assert isinstance(function("hypot"), Elementary)
    assert not [name for name in FUNCTIONS if name.startswith("sample")]
