"""Options of ``loom export`` that would have no effect are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from loom.cli.main import app

DOCUMENT = '{"format":"loom/1","input":{"shape":[4]},"layers":[{"type":"dense","output_size":3}]}'
KERNEL = """
import loom

@loom.kernel
def one(x: loom.InOut[loom.f32]):
    x[0] = 1.0
"""


@pytest.mark.parametrize("option", [
    "--epochs=10", "--batch-size=8", "--rate=0.01", "--optimizer=lion", "--schedule=cosine", "--loss=mse",
    "--hold-out=0.5", "--seed=3", "--clip-norm=1", "--patience=2",
])  # fmt: skip
def test_an_export_that_does_not_train_takes_no_training(option: str, tmp_path: Path) -> None:
    (tmp_path / "net.json").write_text(DOCUMENT)
    done = CliRunner().invoke(app, ["export", f"{tmp_path}/net.json", "--out", f"{tmp_path}/out", option])
    assert done.exit_code != 0
    assert not (tmp_path / "out").exists()
    assert option.partition("=")[0] in done.stderr


@pytest.mark.parametrize("option", ["--batch=1", "--threads", "--epochs=3", "--data=digits"])
def test_a_kernel_takes_no_option_of_networks(option: str, tmp_path: Path) -> None:
    (tmp_path / "kernels.py").write_text(KERNEL)
    done = CliRunner().invoke(app, ["export", f"{tmp_path}/kernels.py:one", "--out", f"{tmp_path}/out", option])
    assert done.exit_code != 0
    assert not (tmp_path / "out").exists()
    assert option.partition("=")[0] in done.stderr
