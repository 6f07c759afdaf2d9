"""Windows of signals are one recipe of cosines, whoever imports them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import torch

import loom


def _windowed(window: Any) -> Any:
    class Windowed(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return x * window()

    return Windowed()


def _of_torch(name: str, size: int, periodic: bool) -> Any:
    x = torch.ones(size, dtype=torch.float64)
    make = getattr(torch, f"{name.lower()}_window")
    module = _windowed(lambda: make(size, periodic=periodic, dtype=torch.float64))
    return loom.from_torch(module, x, dynamic=False, training=False, on="cpu")(x)


def _of_onnx(name: str, size: int, periodic: bool) -> Any:
    text = (f'<ir_version: 8, opset_import: ["": 17]> g () => (double[n] y) <int64 size = {{{size}}}>'
            f"{{ y = {name}Window <periodic = {int(periodic)}, output_datatype = 11> (size) }}")  # fmt: skip
    return loom.onnx.load(onnx.parser.parse_model(text), on="cpu").run({})["y"]


@pytest.mark.parametrize("periodic", [True, False])
@pytest.mark.parametrize("name", ["Hann", "Blackman"])
def test_windows_of_pytorch_have_the_bits_of_those_of_onnx(name: str, periodic: bool) -> None:
    for size in (2, 7, 400):
        found, wanted = _of_torch(name, size, periodic), _of_onnx(name, size, periodic)
        assert found.tobytes() == wanted.tobytes()
        own = getattr(np, {"Hann": "hanning", "Blackman": "blackman"}[name])(size + 1)[:-1] if periodic else None
        assert own is None or np.allclose(found, own, atol=1e-15, rtol=0)


def test_cosines_of_pytorchs_hamming_windows_are_looms() -> None:
    at = loom.tensor.array(np.arange(400.0), on="cpu") * (2 * np.pi / 400)
    wanted = (0.54 - loom.tensor.cos(at) * 0.46).numpy()
    assert _of_torch("Hamming", 400, True).tobytes() == wanted.tobytes()
