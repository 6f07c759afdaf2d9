"""What is there already is never written over unasked, whatever is exported, and a refusal writes nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import loom
from loom.cli.main import app
from loom.core.errors import ArgumentError, FileError
from loom.export import export_bindings, export_c, export_npm, export_samples, export_wasm, freeze, freeze_kernel
from loom.export.delivery import deliver, deliver_together
from loom.export.web import WebExport

DOCUMENT = {"format": "loom/1", "input": {"shape": [4]}, "layers": [{"type": "dense", "output_size": 3}]}
MINE = "mine: do not touch\n"


@loom.kernel
def net(x: loom.InOut[loom.f32]):
    i = loom.global_id()
    if i < len(x):
        x[i] = x[i] * 2


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def one(**files: str) -> object:
    def write(folder: Path) -> WebExport:
        for name, text in files.items():
            (folder / name).write_text(text)
        return WebExport(tuple(folder / name for name in files), 0, 0, 0)

    return write


def test_what_an_export_wrote_is_written_over_and_what_was_changed_is_not(tmp_path: Path) -> None:
    made = deliver(one(a="1", b="1"), tmp_path, overwrite=False)
    assert made.files == (tmp_path / "a", tmp_path / "b")
    deliver(one(a="2", b="2", c="2"), tmp_path, overwrite=False)
    (tmp_path / "b").write_text(MINE)
    before = tree(tmp_path)
    with pytest.raises(FileError, match=r"changed since: expected none of them, got b. .*--overwrite.*nothing was"):
        deliver(one(a="3", b="3", d="3"), tmp_path, overwrite=False)
    assert tree(tmp_path) == before
    deliver(one(a="3", b="3", d="3"), tmp_path, overwrite=True)
    assert {n: t for n, t in tree(tmp_path).items() if len(n) == 1} == {"a": b"3", "b": b"3", "c": b"2", "d": b"3"}
    deliver(one(a="4", b="4"), tmp_path, overwrite=False)  # it is an export's again


def test_folders_sources_and_lists_of_others_are_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with pytest.raises(FileError, match="folders, or files where folders"):
        deliver(one(a="1"), tmp_path, overwrite=True)
    (tmp_path / "model").write_text(MINE)
    with pytest.raises(FileError, match="over what it is made of"):
        deliver(one(model="1"), tmp_path, overwrite=True, sources=[tmp_path / "model"])
    with pytest.raises(FileError, match="folders, or files where folders"):
        deliver(one(x="1"), tmp_path / "model", overwrite=True)  # a file, and no folder
    (tmp_path / ".loom-export.json").write_text("{}")
    with pytest.raises(FileError, match=r"got \.loom-export\.json"):
        deliver(one(z="1"), tmp_path, overwrite=False)
    assert (tmp_path / "model").read_text() == MINE
    assert not (tmp_path / "z").exists()


def test_two_exports_that_write_one_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="two of the exports write this file"):
        deliver_together([(one(a="1", b="1"), tmp_path), (one(a="2"), tmp_path)], overwrite=False)
    assert not tree(tmp_path)
    assert len(deliver_together([(one(a="1"), tmp_path), (one(a="1", c="1"), tmp_path)], overwrite=False)) == 2
    (tmp_path / "c").write_text(MINE)
    before = tree(tmp_path)
    with pytest.raises(FileError, match="got c"):
        deliver_together([(one(a="2"), tmp_path / "new"), (one(c="2"), tmp_path)], overwrite=False)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("kind", ["c", "python", "wasm", "npm", "kernel"])
def test_no_export_writes_over_files_of_others(kind: str, tmp_path: Path) -> None:
    frozen = freeze(loom.Network.from_json(DOCUMENT, on="cpu"))
    write = {
        "c": lambda **more: export_c(frozen, tmp_path, optimize="size", **more),
        "python": lambda **more: export_bindings(frozen, tmp_path, ["python"], optimize="size", **more),
        "wasm": lambda **more: export_wasm(frozen, tmp_path, optimize="size", **more),
        "npm": lambda **more: export_npm(frozen, tmp_path, optimize="size", **more),
        "kernel": lambda **more: export_c(freeze_kernel(net), tmp_path, optimize="size", **more),
    }[kind]
    theirs = {"c": "main.c", "python": "python/README.md", "wasm": "net.js", "npm": "package.json", "kernel": "net.h"}[
        kind
    ]
    (tmp_path / theirs).parent.mkdir(exist_ok=True)
    (tmp_path / theirs).write_text(MINE)
    with pytest.raises(FileError, match=f"got {theirs}"):
        write()
    assert tree(tmp_path) == {theirs: MINE.encode()}
    made = write(overwrite=True)
    assert tmp_path / theirs in made.files
    assert (tmp_path / theirs).read_text() != MINE
    assert write().files == made.files


def test_the_command_line_asks_before_it_writes_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, text in {"model.json": json.dumps(DOCUMENT), "net.json": MINE, "package.json": MINE}.items():
        (tmp_path / name).write_text(text)
    before = tree(tmp_path)
    line = ["export", "model.json", "--to", "c,npm", "--name", "net", "--out", ".", "--optimize", "size"]
    refused = CliRunner().invoke(app, line)
    assert refused.exit_code
    assert "net.json, package.json" in refused.stderr
    assert "--overwrite" in refused.stderr
    itself = CliRunner().invoke(app, [*line[:2], "--to", "c", "--name", "model", "--out", ".", "--overwrite"])
    assert itself.exit_code
    assert "over what it is made of" in itself.stderr
    assert tree(tmp_path) == before
    assert not CliRunner().invoke(app, [*line, "--overwrite"]).exit_code
    assert "loom/export/1" in (tmp_path / "net.json").read_text()
    assert (tmp_path / "model.json").read_bytes() == before["model.json"]
    twice = CliRunner().invoke(app, [*line[:3], "c,npm", "--name", "package", "--out", "other", "--optimize", "size"])
    assert twice.exit_code
    assert "two of the exports write this file" in twice.stderr
    assert not (tmp_path / "other").exists()


def test_samples_are_written_as_c_has_them(tmp_path: Path) -> None:
    x, y = np.arange(12, dtype=np.float64).reshape(3, 4), np.array([2, 0, 1])
    frozen = freeze(loom.Network.from_json(DOCUMENT, on="cpu"), train={"epochs": 1}, data=(x, y))
    (tmp_path / "x.bin").write_text(MINE)
    with pytest.raises(FileError, match=r"got x\.bin"):
        export_samples(frozen, tmp_path)
    files = export_samples(frozen, tmp_path, overwrite=True).files
    assert [f.name for f in files] == ["x.bin", "target.bin"]
    assert [f.read_bytes() for f in files] == [x.astype("<f4").tobytes(), y.astype("<i4").tobytes()]
    with pytest.raises(ArgumentError, match="the export does not train"):
        export_samples(freeze(loom.Network.from_json(DOCUMENT, on="cpu")), tmp_path)


def test_samples_and_the_digest_they_end_in_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn has the samples")
    monkeypatch.chdir(tmp_path)
    document = {**DOCUMENT, "input": {"shape": [1, 8, 8]}}
    document["layers"] = [{"type": "flatten"}, {"type": "dense", "output_size": 10}]  # type: ignore[assignment]
    (tmp_path / "net.json").write_text(json.dumps(document))
    line = ["export", "net.json", "--to", "python", "--data", "digits", "--epochs", "2", "--optimize", "size"]
    found = CliRunner().invoke(app, [*line, "--samples", "samples"])
    assert not found.exit_code, found.output
    trained = CliRunner().invoke(app, ["train", "net.json", "--data", "digits", "--epochs", "2", "--out", "model.json"])
    assert not trained.exit_code, trained.output
    told = json.loads((tmp_path / "build" / "net.json").read_text())["training"]
    assert told["digest"] == loom.Network.load(tmp_path / "model.json", on="cpu").digest()
    assert f"2 epochs end in the digest `{told['digest']}`" in (tmp_path / "build/python/README.md").read_text()
    command = [sys.executable, "train.py", tmp_path / "samples" / "x.bin", tmp_path / "samples" / "target.bin", "2"]
    done = subprocess.run(command, cwd=tmp_path / "build" / "python", capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == told["digest"]
    none = CliRunner().invoke(app, ["export", "net.json", "--samples", "samples"])
    assert none.exit_code
    assert "--samples" in none.stderr
    assert not (tmp_path / "net.h").exists()
