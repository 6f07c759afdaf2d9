"""``loom inspect`` and ``loom convert`` of published checkpoints: folders, safetensors, GGUF."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from typer.testing import CliRunner

from loom.cli.main import app
from loom.models.files import open_checkpoint
from unit.formats.written import facts, gguf


def invoke(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.output


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", "layers": list(range(20))}))
    rng = np.random.default_rng(5)
    arrays = {f"layer.{i}.weight": rng.standard_normal((16, 24)).astype(np.float32) for i in range(3)}
    safetensors.numpy.save_file(
        {**arrays, "norm": np.ones(24, np.float32)}, folder / "model.safetensors", metadata={"format": "pt"}
    )
    return folder


def test_a_checkpoint_is_inspected(model: Path, tmp_path: Path) -> None:
    lines = invoke("inspect", model).splitlines()
    assert lines[0].split() == ["tensor", "type", "shape", "elements", "bytes"]
    assert lines[1].split() == ["layer.0.weight", "F32", "16", "x", "24", "384", "1,536"]
    assert lines[-1] == "huggingface: 4 tensors (4 F32), 1,176 numbers, 4,704 bytes"
    assert "layers: 20 elements" in lines
    found = json.loads(invoke("inspect", model / "model.safetensors", "--json"))
    assert (found["kind"], found["parameters"], found["metadata"]) == ("safetensors", 1176, {"format": "pt"})
    path = tmp_path / "words.gguf"
    path.write_bytes(gguf({"words": ("list of text", ["a"] * 20), "few": ("list of i32", [1, 2])},
                          [facts("w", [32, 2], 8, 0)], bytes(68)))  # fmt: skip
    shown = invoke("inspect", path)
    assert "words: 20 elements" in shown
    assert "few: [1, 2]" in shown
    assert "gguf: 1 tensors (1 Q8_0), 64 numbers, 68 bytes" in shown
    for option in (["--types"], ["--batch", "2"], ["--svg", "x.svg"], ["--device", "interp"], ["--id", "a"]):
        assert "has no effect on a checkpoint" in invoke("inspect", path, *option, code=2)
    path.write_bytes(b"GGUF")
    assert "goes beyond the end of the file" in invoke("inspect", path, code=2)


def test_a_checkpoint_is_converted(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    lines = invoke("convert", model, out, "--dtype", "int4", "--keep", "layer.0*", "--shard-size", "2 KB").splitlines()
    assert lines[0].split()[:2] == ["tensor", "type"]
    assert {line.split()[0] for line in lines[1:3]} == {"layer.1.weight", "layer.2.weight"}
    assert lines[-1].endswith("2 tensors rounded, 2 as they were")
    found = open_checkpoint(out)
    assert {n: t.encoding for n, t in found.tensors.items()} == {
        "layer.0.weight": "F32", "layer.1.weight": "I4", "layer.2.weight": "I4", "norm": "F32"}  # fmt: skip
    assert len([*out.glob("model-*.safetensors")]) == 2
    told = json.loads(invoke("convert", out, tmp_path / "one.safetensors", "--dtype", "bf16", "--json"))
    assert told["nbytes"] == (tmp_path / "one.safetensors").stat().st_size
    assert open_checkpoint(tmp_path / "one.safetensors").config == found.config
    for options, what in (
        (["--to", "gen1"], "has no effect on a checkpoint"), (["--lossy"], "has no effect on a checkpoint"),
        (["--dtype", "i9"], "no type of storage"), (["--shard-size", "5 apples"], "not a size"),
        (["--scales", "all"], "is not known"), (["--keep", "nothing*"], "no tensor is called"),
        (["--shard-size", "5GB"], "one file has no shards"),
    ):  # fmt: skip
        assert what in invoke("convert", model, tmp_path / "never.safetensors", *options, code=2)
    assert "something is there already" in invoke("convert", model, out, code=2)
    assert not (tmp_path / "never.safetensors").exists()
    (tmp_path / "net.json").write_text('{"layers": [{"type": "dense", "input_size": 2, "output_size": 1}]}')
    assert "means checkpoints" in invoke("convert", tmp_path / "net.json", tmp_path / "x.json", "--keep", "a", code=2)


def test_pickles_are_refused(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"PK\x03\x04" + bytes(40))
    for command in (["inspect"], ["convert"]):
        rest = [tmp_path / "x.safetensors"] if command == ["convert"] else []
        assert "save_pretrained" in invoke(*command, tmp_path / "pytorch_model.bin", *rest, code=2)
