"""``loom demo --menu``: what each choice does, piped choices, the end of input; and ``loom convert``."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import loom
from loom.cli.demos import menu
from loom.cli.demos.menu import OPTIONS
from loom.cli.main import app


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOM_DEVICE", "cpu")


def run(*args: str, text: str = "") -> Result:
    return CliRunner().invoke(app, list(args), input=text)


def test_the_seeds_numbers() -> None:
    """Seed 004, "Menu Options": 9 to 15."""
    wanted = {9: "Dense", 10: "Conv2D", 11: "Multi-head attention", 12: "RNN", 13: "LSTM", 14: "CPU against GPU"}
    assert all(OPTIONS[number].title.startswith(title) for number, title in (wanted | {15: "Model serial"}).items())


@pytest.mark.parametrize("number", [9, 12])
def test_a_network_is_trained(number: int) -> None:
    done = run("demo", "--menu", "--choice", str(number), "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    losses = [float(re.search(r"loss ([\d.]+)", line)[1]) for line in said["lines"][1:3]]  # type: ignore[index]
    assert losses[1] < losses[0] / 3
    assert float(re.search(r"accuracy ([\d.]+)", said["lines"][2])[1]) > 0.9  # type: ignore[index]


def test_models_are_saved_and_read() -> None:
    done = run("demo", "--menu", "--choice", "15")
    assert done.exit_code == 0, done.output
    assert done.stdout.count("largest difference 0.0000000000") == 4
    assert "5 networks as one bundle" in done.stdout
    assert "the same weights" in done.stdout


def test_the_cpu_against_what_else_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(menu, "_EXERCISES", {name: menu._EXERCISES[name] for name in ("Dense", "RNN")})
    done = run("demo", "--menu", "--choice", "14", "--device", "cpu")
    assert done.exit_code == 0, done.output
    assert "only cpu is asked for: leave out --device" in done.stdout
    assert "the same bits" not in done.stdout  # as what?


def test_choices_that_are_piped() -> None:
    done = run("demo", "--menu", text="7\nx\n0\n15\n")
    assert done.exit_code == 0, done.output
    assert done.output.count("no such choice: expected 1, 9, 10, 11, 12, 13, 14, 15") == 2
    assert "got '7'. Choose one of these, or 0 to leave." in done.output
    assert "as a text" not in done.output  # after 0
    ended = run("demo", "--menu", text="")
    assert (ended.exit_code, ended.stdout.splitlines()[-1]) == (0, "end of input")


@pytest.mark.parametrize(
    ("args", "wanted"),
    [
        (("--menu", "--choice", "8"), "no such choice"),
        (("--choice", "9"), "--choice without --menu has no effect here"),
        (("--menu", "--quick"), "--quick has no effect here"),
        (("--menu", "--json"), "--json without --choice has no effect here"),
    ],
)
def test_what_would_have_no_effect(args: tuple[str, ...], wanted: str) -> None:
    done = run("demo", *args)
    assert done.exit_code == 2
    assert wanted in done.output


def test_convert(tmp_path: Path) -> None:
    old = {"id": "n", "layers": [{"type": "dense", "input_size": 2, "output_size": 1, "activation": "relu"}]}
    (tmp_path / "old.json").write_text(json.dumps(old))
    done = run("convert", str(tmp_path / "old.json"), str(tmp_path / "new.json"))
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "new.json").read_text())["layers"][0]["activation"] == "scaled_relu"
    loom.Network.from_json(tmp_path / "new.json").save(tmp_path / "model.json")
    done = run("convert", str(tmp_path / "model.json"), str(tmp_path / "two.json"), "--to", "gen2")
    assert done.exit_code == 2
    assert "it makes linear of every activation but" in done.output
    assert not (tmp_path / "two.json").exists()
    done = run("convert", str(tmp_path / "model.json"), str(tmp_path / "two.json"), "--to", "gen2", "--lossy", "--json")
    assert done.exit_code == 0, done.output
    assert len(json.loads(done.stdout)["losses"]) == 1
    done = run("convert", str(tmp_path / "nothing.json"), str(tmp_path / "x.json"))
    assert done.exit_code == 2
