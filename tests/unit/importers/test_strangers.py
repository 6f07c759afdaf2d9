"""Of what is wrong nothing is written, and what has no effect is refused, by models of both importers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
import pytest
import torch

import loom
import loom.onnx
from loom.core.errors import ArgumentError, DTypeError, FileError, ShapeError

_TEXT = """<ir_version: 8, opset_import: ["": 17]> g (float[n,2] x) => (float[n,2] y)
<float[2] w = {2,3}, float[2] v = {0,0}> { h = Mul(x,w) y = Add(h,v) }"""


def _model() -> Any:
    return loom.onnx.load(onnx.parser.parse_model(_TEXT))


@pytest.mark.parametrize("wrong", [np.ones(3), "12", [[1], [2, 3]], None, np.ones(2) * 1j])
def test_all_weights_are_written_or_none(wrong: Any) -> None:
    model = _model()
    with pytest.raises((ArgumentError, DTypeError, ShapeError), match="load_weights, 'v'"):
        model.load_weights({"w": np.ones(2), "v": wrong})
    assert model.weights()["w"].tolist() == [2, 3]
    model.load_weights({"w": [4, 5], "v": np.zeros(2)})
    assert model.run({"x": np.ones((1, 2), "f4")})["y"].tolist() == [[4, 5]]


def _two_layers(width: int) -> Any:
    return torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Linear(3, width))


def test_a_module_of_another_size_keeps_its_weights() -> None:
    other = _two_layers(5)
    before = [p.detach().clone() for p in other.parameters()]
    model = loom.from_torch(_two_layers(2), torch.zeros(2, 4))
    with pytest.raises(ArgumentError, match="size mismatch"):
        model.copy_into(other)
    assert all(torch.equal(a, b) for a, b in zip(before, other.parameters(), strict=True))
    alike = _two_layers(2)
    model.copy_into(alike)
    assert np.array_equal(alike[1].weight.detach().numpy(), model.state_dict()["1.weight"])


@pytest.mark.parametrize(("name", "error"), [("", FileError), ("plain/x.onnx", FileError), (None, DTypeError)])
def test_a_file_that_cannot_be_written_is_told(name: str | None, error: type[Exception], tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    with pytest.raises(error, match=r"onnx\.save"):
        _model().save(name if name is None else tmp_path / name)


def test_batch_statistics_of_a_graph_without_batches_are_refused() -> None:
    x = np.ones((4, 2), "f4")
    with pytest.raises(ArgumentError, match="nothing in the graph normalises by batches"):
        _model().train(x, x, batch_statistics=True)


def test_a_file_of_torch_without_torch_names_the_extra(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2)}, tmp_path / "a.pt")
    code = "import sys; sys.modules['torch'] = None\nimport loom\nloom.pytorch.read_state_dict('a.pt')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert "loom-compute[torch]" in done.stderr.splitlines()[-1]
