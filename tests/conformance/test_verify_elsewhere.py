"""``loom verify`` on other machines: the golden root on AArch64 and ARMv7 under qemu, on wasm with SIMD in node."""

from __future__ import annotations

from pathlib import Path

import pytest

from conformance.emulated import Capture, Emulated, missing_tool
from loom.proof.attestation import verify
from loom.proof.cases import LAYERS, cases_of

pytestmark = pytest.mark.wide


@pytest.mark.timeout(600)
@pytest.mark.parametrize("machine", ["wasm32", "aarch64", pytest.param("armv7", marks=pytest.mark.slow)])
def test_root_is_the_golden_one(machine: str, tmp_path: Path) -> None:
    reason = missing_tool(machine)
    if reason is not None:
        pytest.skip(reason)
    captured = Capture(machine)
    for layer in LAYERS:
        for case in cases_of(layer):
            case.compute(captured, *case.inputs())
    elsewhere = Emulated(machine, captured, tmp_path)
    found = verify(elsewhere, fresh=True)
    assert found.differing == ()
    assert elsewhere.dispatches >= len(captured.kernels)
    elsewhere.close()
