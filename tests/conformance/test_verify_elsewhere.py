"""``loom verify`` on other machines: the golden root on AArch64 and ARMv7 under qemu, on wasm with SIMD in node."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.emulated import Capture, Emulated, missing_tool
from loom.proof.attestation import verify
from loom.proof.cases import LAYERS, cases_of
from loom.proof.golden import golden

_MACHINES = ("wasm32", "aarch64", "armv7")


def _prove(machine: str, layers: tuple[int, ...], folder: Path) -> None:
    reason = missing_tool(machine)
    if reason is not None:
        pytest.skip(reason)
    captured = Capture(machine)
    for layer in layers:
        for case in cases_of(layer):
            case.compute(captured, *case.inputs())
    elsewhere = Emulated(machine, captured, folder)
    try:
        found = verify(elsewhere, layers=layers, fresh=True)
    finally:
        elsewhere.close()
    assert found.differing == ()
    assert found.layers == {str(layer): golden().layers[str(layer)] for layer in layers}
    assert elsewhere.dispatches >= len(captured.kernels)


@pytest.mark.parametrize(("machine", "layer"), [("wasm32", 2), pytest.param("aarch64", 1, marks=pytest.mark.slow)])
def test_operations_and_functions_have_the_golden_digests(machine: str, layer: int, tmp_path: Path) -> None:
    _prove(machine, (layer,), tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("machine", _MACHINES)
def test_root_is_the_golden_one(machine: str, tmp_path: Path) -> None:
    _prove(machine, tuple(LAYERS), tmp_path)
