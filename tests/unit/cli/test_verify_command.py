"""``loom verify``: what it prints, its JSON, its exit codes."""

from __future__ import annotations

import json

from typer.testing import CliRunner

from loom.cli.main import app
from loom.proof.golden import golden


def _invoke(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["verify", *arguments])
    assert result.exit_code == code, result.output
    return result.output


def test_prints_layers_root_and_verdict() -> None:
    text = _invoke("--device", "cpu", "--layer", "1", "--fresh").splitlines()
    assert text[0].startswith("cpu: cpu: ")
    assert "loom-verify/1" in text[0]
    assert text[2] == f"1      single operations  {golden().layers['1']}"
    assert text[3].startswith("root ")
    assert text[4].endswith(": every digest is the golden one")


def test_a_record_says_that_it_is_one() -> None:
    first = _invoke("--device", "cpu", "--layer", "1", "--fresh").splitlines()[-1]
    again = _invoke("--device", "cpu", "--layer", "1").splitlines()[-1]
    assert again.startswith(f"{first} (recorded 20")
    assert again.endswith("; --fresh computes anew)")


def test_json_of_several_devices() -> None:
    found = json.loads(_invoke("--device", "all", "--layer", "1", "--json"))
    assert [a["device"] for a in found][:2] == ["cpu", "interp"]
    assert all(a["exact"] for a in found)
    assert len({a["root"] for a in found}) == 1
    assert set(found[0]) >= {"spec", "profile", "vectors", "layers", "root", "device", "driver", "compiler"}


def test_a_broken_device_is_found_out() -> None:
    text = _invoke("--device", "cpu", "--layer", "1", "--mutate", "flush", code=1)
    assert "differs: flush: 2^-126 * 0.5, straight: expected 0x400000, got 0x0 (64 of 64 lanes)\n" in text
    assert text.splitlines()[-1].endswith("differ: NOT exact")


def test_more_differences_than_fit_are_counted() -> None:
    text = _invoke("--device", "cpu", "--layer", "1", "--mutate", "swap", code=1)
    assert text.count("\ndiffers: ") == 10
    assert "\nand " in text


def test_errors() -> None:
    unknown = _invoke("--device", "gpus", code=2)
    assert unknown.startswith("loom: [loom.device] no device is called 'gpus'")
    mutation = _invoke("--mutate", "melt", code=2)
    assert mutation.startswith("loom: [loom verify, mutation] no mutation is called 'melt'. Known names: ")
    layer = _invoke("--layer", "7", code=2)
    assert layer.startswith("loom: [loom.verify, layers] no such layer: expected some of 1, 2, 3, 4, got [7].")
