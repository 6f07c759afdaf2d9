"""``loom vectors``: what a store holds, and search in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

import loom
from loom.cli.main import app


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["vectors", *map(str, arguments)])


def test_a_store_is_described_and_searched(tmp_path: Path) -> None:
    with loom.vectors.VectorStore(dims=3, capacity=8, device="cpu") as store:
        store.capture("x", [1.0, 0.0, 0.0], {"batch": 42})
        store.capture("y", [0.0, 2.0, 0.0])
        store.capture(7, [1.0, 1.0, 0.0])
        store.delete("y")
        loom.vectors.flush(store, tmp_path / "store")
        hits = store.search([1.0, 0.5, 0.0], 2)
    facts = json.loads(run("info", tmp_path / "store", "--json").output)
    assert (facts["vectors"], facts["dims"], facts["metric"], facts["dtype"]) == (2, 3, "cosine", "f32")
    assert "vectors  2" in run("info", tmp_path / "store.ldb").output
    found = json.loads(run("search", tmp_path / "store", "--vector", "1,0.5,0", "-k", 2, "--json").output)
    assert [(hit["id"], hit["score"]) for hit in found] == [(hit.id, hit.score) for hit in hits]
    lines = run("search", tmp_path / "store.ldb", "--like", "x", "-k", "1").output.splitlines()
    assert [line.split()[0] for line in lines] == ["id", "x"]
    assert run("search", tmp_path / "store", "--like", "7", "-k", 1).output.splitlines()[1].startswith("7")


def test_errors_are_one_line(tmp_path: Path) -> None:
    with loom.vectors.VectorStore(dims=3, capacity=8, device="cpu") as store:
        loom.vectors.flush(store, tmp_path / "store")
    for arguments in [
        ("info", tmp_path / "none"),
        ("search", tmp_path / "store"),
        ("search", tmp_path / "store", "--vector", "1,x"),
        ("search", tmp_path / "store", "--vector", "1,2"),
        ("search", tmp_path / "store", "--like", "x"),
    ]:
        done = run(*arguments)
        assert done.exit_code == 2, done.output
        assert done.output.count("\n") == 1
