"""Layer 1: the literals the probes expect, worked out here by exact rational arithmetic where it applies."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

import loom
from loom.proof.contexts import CONTEXTS, in_context, operands_of
from loom.proof.probes import PROBES, ScalarProbe

BY_NAME = {p.name: p for p in PROBES}
_EXACT = {
    "_add": lambda a, b: a + b,
    "_subtract": lambda a, b: a - b,
    "_multiply": lambda a, b: a * b,
    "_divide": lambda a, b: a / b,
}


def test_names_are_unique_and_hazards_all_there() -> None:
    assert len(BY_NAME) == len(PROBES)
    assert {p.hazard for p in PROBES} == {
        "contraction", "reassociation", "division", "root", "flush", "flush timing", "rounding", "signed zero", "NaN",
        "integers",
    }  # fmt: skip


def _nearest_f32(exact: Fraction) -> int:
    """Return the bits of the float32 nearest to a positive number, ties to even, subnormals kept."""
    exponent = max(math.floor(math.log2(exact)) if exact else -149, -126)
    while exact >= Fraction(2) ** (exponent + 1):
        exponent += 1
    while exponent > -126 and exact < Fraction(2) ** exponent:
        exponent -= 1
    units = exact / Fraction(2) ** (exponent - 23)
    whole, rest = divmod(units, 1)
    whole += rest > Fraction(1, 2) or (rest == Fraction(1, 2) and whole % 2 == 1)
    return int(whole) + ((exponent + 126) << 23) if exponent > -126 or whole >= 2**23 else int(whole)


def _exactly(probe: ScalarProbe) -> Fraction | None:
    """Return the exact result of a probe of numbers, None if that is no positive float."""
    if probe.expression.__name__ not in _EXACT or probe.dtype != loom.f32:
        return None
    values = [float(np.uint32(bits).view(np.float32)) for bits in probe.operands]
    if not all(map(math.isfinite, values)) or (probe.expression.__name__ == "_divide" and values[1] == 0):
        return None
    exact = _EXACT[probe.expression.__name__](*map(Fraction, values))
    return exact if 0 < exact < 2**127 else None


@pytest.mark.parametrize("name", [p.name for p in PROBES if _exactly(p) is not None])
def test_literals_of_arithmetic(name: str) -> None:
    exact = _exactly(BY_NAME[name])
    assert exact is not None
    assert _nearest_f32(exact) == BY_NAME[name].expected


@pytest.mark.parametrize("context", CONTEXTS)
def test_the_interpreter_gives_what_is_expected(context: str) -> None:
    for probe in PROBES:
        found = in_context(probe, context, loom.device("interp"), operands_of(probe))
        assert (found == probe.expected).all(), (probe.name, context)
        assert found.size or context == "vector"
