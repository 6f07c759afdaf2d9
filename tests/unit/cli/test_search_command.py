"""``loom search``: a ranking that repeats, and a model that is kept with its classes' names."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from typer.testing import CliRunner

import loom
from loom.cli.main import app


def test_the_best_network_is_kept(tmp_path: Path) -> None:
    draw = np.random.default_rng(2).standard_normal((40, 2))
    rows = [f"{a:.5f},{b:.5f},{'right' if a > 0 else 'left'}" for a, b in draw]
    data, out = tmp_path / "data.csv", tmp_path / "best.json"
    data.write_text("\n".join(rows))
    command = ["search", str(data), "--candidates", "2", "--budget", "32", "--types", "dense", "--depth", "1",
               "--parameters", "60", "--rate", "0.05", "--seed", "3"]  # fmt: skip
    told = CliRunner().invoke(app, [*command, "--json", "--out", str(out)])
    assert told.exit_code == 0, told.output
    found = json.loads(told.stdout)
    net = loom.Network.load(out)
    assert found["sha256"] == net.digest()
    assert net.spec.classes == ("left", "right")
    assert [c["epochs"] for c in found["ranking"]] == [24, 8]
    assert found["ranking"][0]["accuracy"] >= 0.9
    shown = CliRunner().invoke(app, command)
    assert f"sha256 of the weights {found['sha256']}" in shown.stdout
    assert shown.stdout.splitlines()[0].split() == [
        "place", "network", "epochs", "accuracy", "loss", "parameters", "layers",
    ]  # fmt: skip
    for wrong, text in ((["--depth", "x"], "not a range"), (["--types", "danse"], "Did you mean 'dense'")):
        refused = CliRunner().invoke(app, [*command, *wrong])
        assert refused.exit_code == 2
        assert text in refused.stderr
