"""The coefficients in the package are those that the fitting scripts give."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType

import mpmath as mp
import pytest

pytest.importorskip("scipy")

ROOT = Path(__file__).resolve().parents[2]
FIT = ROOT / "tools" / "fit"
FAMILIES = sorted(path.stem for path in FIT.glob("*.py") if path.stem != "remez")


def _script(name: str) -> ModuleType:
    """Import a script the way it runs: with its folder on the path, under a name of its own."""
    sys.path.insert(0, str(FIT))
    try:
        spec = importlib.util.spec_from_file_location(f"fit_{name}", FIT / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(FIT))


def test_a_fit_is_as_good_as_theory_says() -> None:
    """|T4| / 8 is the least deviation of x^4 from cubics on [-1, 1] (Chebyshev)."""
    remez = _script("remez")
    powers = [0, 1, 2, 3]
    found = remez.fit(lambda x: x**4, -1, 1, powers, lambda x: 1, bits=53, points=400)
    assert found == pytest.approx([-0.125, 0, 1, 0], abs=1e-5)
    assert remez.error(lambda x: x**4, -1, 1, powers, lambda x: 1, found) == pytest.approx(0.125, rel=1e-4)


def test_coefficients_have_the_bits_asked_for_and_cost_little() -> None:
    remez = _script("remez")
    powers, errors = range(5), []
    for bits in (53, 24, 12):
        found = remez.fit(mp.exp, -0.35, 0.35, powers, lambda x: 1 / mp.exp(x), bits=bits)
        assert all(math.ldexp(math.frexp(c)[0], bits).is_integer() for c in found)
        errors.append(remez.error(mp.exp, -0.35, 0.35, powers, lambda x: 1 / mp.exp(x), found))
    assert errors[0] < errors[1] < 1.1 * errors[0]
    assert errors[2] < 2.0**-12


def test_parts_add_up() -> None:
    remez = _script("remez")
    with mp.workprec(100):
        high, low = remez.split(mp.log(2), 12)
        assert abs(mp.mpf(high) + mp.mpf(low) - mp.log(2)) < mp.mpf(2) ** -36
    assert high == float.fromhex("0x1.62ep-1")


def test_every_table_has_a_script() -> None:
    written = {path.stem for path in (ROOT / "src/loom/kernels/functions/coefficients").glob("[!_]*.py")}
    assert written == set(FAMILIES)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("family", FAMILIES)
def test_the_scripts_give_the_coefficients(family: str) -> None:
    import importlib

    module = importlib.import_module(f"loom.kernels.functions.coefficients.{family}")
    tables = _script(family).tables()
    assert sorted(tables) == sorted(module.__all__)
    for name, values in tables.items():
        assert tuple(values) == getattr(module, name), name
