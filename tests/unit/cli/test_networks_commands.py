"""``loom train``, ``eval``, ``infer`` and ``inspect``: from a document and a file of samples to answers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from loom.cli.main import app
from loom.nn.train.datasets import divide, read_samples

DOCUMENT = {
    "format": "loom/1", "seed": 1, "input": {"shape": [2]},
    "layers": [{"type": "dense", "output_size": 8, "activation": "tanh"}, {"type": "dense", "output_size": 2}],
}  # fmt: skip


def invoke(*arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.output


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "net.json").write_text(json.dumps(DOCUMENT))
    x = np.random.default_rng(2).standard_normal((40, 2))
    rows = [f"{a:.6f},{b:.6f},{'up' if a + b > 0 else 'down'}" for a, b in x]
    (tmp_path / "data.csv").write_text("\n".join(["first,second,kind", *rows]) + "\n")
    return tmp_path


def test_from_document_to_answers(folder: Path) -> None:
    net, data, model = (str(folder / name) for name in ("net.json", "data.csv", "model.json"))
    options = ["--data", data, "--epochs", "15", "--rate", "0.05", "--device", "cpu"]
    text = invoke("train", net, *options, "--out", model, "--curves", str(folder / "loss.png"), "--schedule", "cosine")
    lines = text.splitlines()
    assert lines[0].split() == ["epoch", "loss", "held", "out", "accuracy", "rate"]
    assert len(lines) == 1 + 15 + 3
    digest = lines[-1].split()[-1]
    assert (folder / "loss.png").read_bytes()[:4] == b"\x89PNG"
    found = json.loads(invoke("eval", model, "--data", data, "--json", "--device", "cpu"))
    assert found["samples"] == 40
    assert found["accuracy"] > 0.9
    assert "accuracy" in invoke("eval", model, "--data", data, "--device", "cpu")
    (answer,) = json.loads(invoke("infer", model, "--input", "2.0,2.0", "--json", "--device", "cpu"))
    assert answer["class"] == "up"
    assert answer["outputs"][1] > answer["outputs"][0]  # 'up' comes after 'down'
    assert len(invoke("infer", model, "--data", data, "--device", "cpu").splitlines()) == 40
    assert digest in invoke("inspect", model)
    shown = json.loads(invoke("inspect", net, "--json"))
    assert [layer["parameters"] for layer in shown["layers"]] == [24, 18]


def test_a_checkpoint_is_gone_on_with(folder: Path) -> None:
    net, data = str(folder / "net.json"), str(folder / "data.csv")
    options = [net, "--data", data, "--device", "cpu", "--json"]
    kept = ["--checkpoint", str(folder / "kept")]
    whole = json.loads(invoke("train", *options, "--epochs", "4"))
    invoke("train", *options, "--epochs", "2", *kept)
    assert json.loads(invoke("train", *options, "--epochs", "4", *kept))["sha256"] == whole["sha256"]


def test_errors(folder: Path) -> None:
    net, data = str(folder / "net.json"), str(folder / "data.csv")
    assert "has no weights: expected a bundle" in invoke("eval", net, "--data", data, code=2)
    assert "no such file" in invoke("inspect", str(folder / "nothing.json"), code=2)
    assert "expected digits, FILE.npz or FILE.csv, got 'data.txt'" in invoke("train", net, "--data", "data.txt", code=2)
    (folder / "bad.csv").write_text("1,2,0\n1,x,1\n")
    assert "bad.csv, row 2, column 2] not a number: expected a number, got 'x'" in invoke(
        "train", net, "--data", str(folder / "bad.csv"), code=2
    )
    (folder / "ragged.csv").write_text("1,2,0\n1,1\n")
    assert "another number of columns: expected 3, got 2" in invoke(
        "train", net, "--data", str(folder / "ragged.csv"), code=2
    )
    np.savez(folder / "bad.npz", a=np.zeros(3))
    assert "the arrays are not named as samples: expected x and y, got a" in invoke(
        "train", net, "--data", str(folder / "bad.npz"), code=2
    )


def test_what_cannot_be_read_is_told(folder: Path) -> None:
    net = str(folder / "net.json")

    def told(name: str) -> str:
        return invoke("train", net, "--data", str(folder / name), code=2)

    x = np.zeros((4, 2))
    np.savez(folder / "lengths.npz", x=x, y=np.zeros(3))
    np.savez(folder / "wide.npz", x=np.zeros((4, 3)), y=np.zeros(4))
    (folder / "text.npz").write_text("1,2,3")
    (folder / "latin.csv").write_bytes(b"1,2,caf\xe9\n")
    (folder / "semicolons.csv").write_text("1;2;0\n2;3;1\n")
    assert "[--data] no such file: expected an .npz or .csv file" in told("nothing.npz")
    assert "no such file" in told("nothing.csv")
    assert "not of the same samples: expected arrays of one first size, got (4, 2) and (3,)" in told("lengths.npz")
    assert "do not fit the network's input: expected (2,), got (3,)" in told("wide.npz")
    assert "not an .npz file of numbers (it is not an archive of arrays)" in told("text.npz")
    assert "not a table of text ('utf-8' codec can't decode byte 0xe9" in told("latin.csv")
    assert "too few columns: expected at least 2, got 1. Put commas between them" in told("semicolons.csv")
    assert "not a network: expected JSON or .safetensors" in invoke("inspect", str(folder / "data.csv"), code=2)


def test_places_are_looked_at_before_training(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["train", str(folder / "net.json"), "--data", str(folder / "data.csv")]
    monkeypatch.setattr("loom.nn.network.Network.train", lambda *_, **__: pytest.fail("it has run"))
    assert "--out] not such a file: expected .json or .safetensors" in invoke(*arguments, "--out", "m.pt", code=2)
    assert "--curves] not such a file: expected .png" in invoke(*arguments, "--curves", "c.jpg", code=2)
    (folder / "folder.json").mkdir()
    for place in ("folder.json", "net.json/m.json"):
        assert "--out] cannot write there" in invoke(*arguments, "--out", str(folder / place), code=2)
    assert "greater than or equal to 0" in invoke(*arguments, "--seed", "-1", code=2)


def test_an_interrupted_training_is_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("loom.nn.network.Network.train", interrupted)
    net, data, model = (str(folder / name) for name in ("net.json", "data.csv", "model.json"))
    arguments = ["train", net, "--data", data, "--device", "cpu"]
    assert invoke(*arguments, code=130) == "interrupted\n"
    text = invoke(*arguments, "--out", model, "--checkpoint", "kept", code=130)
    assert text == f"interrupted; resume with --checkpoint kept; model in {model}\n"
    assert "42 weights of f32" in invoke("inspect", model)


def test_one_output(folder: Path) -> None:
    """Targets of a file have no axis of outputs: they get it."""
    x = np.random.default_rng(4).standard_normal((40, 2)).round(3)
    net, data, model, new = (str(folder / name) for name in ("one.json", "one.csv", "one_model.json", "new.csv"))
    Path(net).write_text(json.dumps(DOCUMENT | {"layers": [{"type": "dense", "output_size": 1}]}))
    np.savetxt(data, np.c_[x, (3 * x @ [1.0, 2.0]).round()], delimiter=",", fmt="%g")  # whole, and not classes
    np.savetxt(new, x, delimiter=",", fmt="%g")
    options = ["--epochs", "60", "--rate", "0.3", "--device", "cpu"]
    text = invoke("train", net, "--data", data, *options, "--out", model)
    assert f"model in {model}" in text
    found = json.loads(invoke("eval", model, "--data", data, "--json", "--device", "cpu"))
    assert found["loss"] < 0.5  # of a variance above 30
    assert found["accuracy"] is None
    answers = invoke("infer", model, "--data", new, "--device", "cpu")
    assert answers == invoke("infer", model, "--data", data, "--device", "cpu")
    np.savez(folder / "new.npz", x=x)
    assert invoke("infer", model, "--data", str(folder / "new.npz"), "--device", "cpu") == answers


def test_samples_of_files(tmp_path: Path) -> None:
    np.savez(tmp_path / "s.npz", images=np.arange(16).reshape(2, 8), labels=np.array([0, 1]))
    x, y = read_samples(str(tmp_path / "s.npz"), (1, 2, 4))
    assert x.shape == (2, 1, 2, 4)
    assert y.tolist() == [0, 1]
    (tmp_path / "r.csv").write_text("0.5,1.5\n1,2.25\n")
    assert [a.tolist() for a in read_samples(str(tmp_path / "r.csv"))] == [[[0.5], [1.0]], [1.5, 2.25]]
    (kept, _), held_out = divide(np.arange(10), np.arange(10), 0.3, 4)
    assert held_out is not None
    assert sorted([*kept.tolist(), *held_out[0].tolist()]) == list(range(10))
    assert len(held_out[0]) == 3


def test_digits() -> None:
    pytest.importorskip("sklearn")
    x, y = read_samples("digits", (1, 8, 8))
    assert x.shape == (1797, 1, 8, 8)
    assert (float(x.max()), sorted(set(y.tolist()))) == (1.0, list(range(10)))


def test_numeric_types_are_compared(folder: Path) -> None:
    net, data = str(folder / "net.json"), str(folder / "data.csv")
    model = str(folder / "typed.json")
    invoke("train", net, "--data", data, "--epochs", "1", "--device", "cpu", "--compute", "bf16", "--out", model)
    lines = invoke("inspect", model, "--types", "--data", data).splitlines()
    assert len(lines) == 1 + 21 + 1
    assert lines[0].split()[-1] == "accuracy"
    found = json.loads(invoke("inspect", net, "--types", "--scales", "channel", "--json"))
    assert [t["dtype"] for t in found["types"]][:2] == ["f64", "f32"]
    assert found["types"][1]["quality_score"] == 100.0
    assert "has no effect alone" in invoke("inspect", net, "--data", data, code=2)


def test_devices_share_micro_batches_out(folder: Path) -> None:
    told = [
        "train",
        str(folder / "net.json"),
        "--data",
        str(folder / "data.csv"),
        "--epochs",
        "2",
        "--device",
        "cpu",
        "--json",
    ]
    found = [
        json.loads(invoke(*told, "--micro-batch", "3", *more))["sha256"] for more in ((), ("--devices", "cpu, cpu"))
    ]
    assert found[0] == found[1] != json.loads(invoke(*told))["sha256"]
    assert "workers compute micro-batches" in invoke(*told, "--devices", "cpu", code=2)
    assert "no device" in invoke(*told, "--devices", "cpu,none", "--micro-batch", "3", code=2)
