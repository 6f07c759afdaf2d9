"""``loom serve NAME=MODEL,weights=..``: settings of one model, beside those of all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from loom.cli.main import app
from loom.cli.models import asking, serve
from loom.core.errors import ArgumentError
from loom.models.tasks.adapter import open_served
from unit.models.architectures.peers import SMALL, make, save
from unit.models.tasks import small
from unit.serve.standin import StandIn

source = serve._source_of  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("m.gguf", ("m.gguf", None, None, None, None)),
        ("a=m.gguf", ("m.gguf", "a", None, None, None)),
        ("a=m.gguf,weights=stored", ("m.gguf", "a", "stored", None, None)),
        ("m.gguf,compute=q8,weights=q4_0,on=cpu", ("m.gguf", None, "q4_0", "q8", "cpu")),
        ("a=b=c.gguf", ("b=c.gguf", "a", None, None, None)),
        ("one,two", ("one,two", None, None, None, None)),
        ("one,two,weights=stored", ("one,two", None, "stored", None, None)),
        ("a=one,two,weights=stored", ("one,two", "a", "stored", None, None)),
        ("x=1,weights=stored", ("x=1,weights=stored", None, None, None, None)),
        ("m=1", ("m=1", None, None, None, None)),
        ("m.gguf,weights=stored,on=stored", ("m.gguf", None, "stored", None, "stored")),
    ],
)
def test_a_model_may_have_settings_of_its_own(
    text: str, wanted: tuple[Any, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("one,two", "x=1,weights=stored", "m=1", "stored"):  # files may be called so
        (tmp_path / name).touch()
    found = source(text)
    assert (found.path, found.name, found.weights, found.compute, found.on) == wanted


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a=m,wieghts=stored", "'wieghts=stored' is no setting.*Did you mean 'weights'"),
        ("m,stored", "'stored' is no setting"),
        ("m,weights=", "'weights=' is no setting"),
        ("m,weights=f33", "'f33' is not known.*Did you mean 'f32'"),
        ("m,compute=q9", "'q9' is not known"),
        ("m,weights=f32,weights=stored", "weights is there twice.*Say it once"),
        ("m,", "'' is no setting"),
        (",weights=stored", "names no model"),
        ("=m", "names no model"),
        ("a=,weights=stored", "names no model"),
        ("", "names no model"),
    ],
)
def test_what_is_no_setting_is_refused_before_a_model_is_read(
    text: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArgumentError, match=says):
        source(text)


def served(monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[list[tuple[Any, ...]], Any]:
    """Return what ``loom serve`` opens, and how it ended, of stand-ins that are vectors where they are called so."""
    told: list[tuple[Any, ...]] = []

    def opened(path: str, *more: Any) -> StandIn:
        told.append((path, *more))
        return StandIn(path, writes="vectors" not in path, embeds="vectors" in path)

    monkeypatch.setattr(asking, "open_model", opened)
    monkeypatch.setattr("loom.serve.http.server.serve_on", lambda *_, **__: None)
    return told, CliRunner().invoke(app, ["serve", "--port", "0", *words])


def test_settings_of_all_are_those_of_models_that_have_none(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("text", "b=other,weights=q8_0,on=interp", "v=vectors", "--weights", "stored", "--compute", "q8")
    told, done = served(monkeypatch, *words)
    assert done.exit_code == 0, done.output
    usual = ("stored", "q8")
    assert told == [("text", None, None, None, None, usual), ("other", "interp", "q8_0", None, "b", usual),
                    ("vectors", None, None, None, "v", usual)]  # fmt: skip


@pytest.mark.parametrize("words", [("vectors",), ("text,weights=f32", "vectors")])
def test_settings_of_no_model_are_refused(words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    _, done = served(monkeypatch, *words, "--weights", "stored")
    assert (done.exit_code, "[loom serve, --weights] it is of no model" in done.stderr) == (2, True), done.stderr
    assert served(monkeypatch, *words)[1].exit_code == 0


def test_a_model_of_vectors_takes_no_weights_but_stands_beside_one_that_does(tmp_path: Path) -> None:
    folder = save(make("BertModel", **SMALL), tmp_path / "vectors")
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b"]))
    (folder / "modules.json").write_text('[{"type": "a.Transformer"}, {"type": "a.Pooling", "path": "1_Pooling"}]')
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling/config.json").write_text('{"pooling_mode": "mean"}')
    usual = ("stored", "q8")
    vectors = open_served(str(folder), usual=usual)
    text = open_served(small.files(), name="small", usual=usual)
    assert (vectors.identity.stored_as, vectors.identity.compute) == ("f32", "exact")
    assert (text.identity.stored_as, text.identity.compute) == usual
    own = open_served(small.files(), name="small", weights="q8_0", compute="exact", usual=usual)
    assert (own.identity.stored_as, own.identity.compute) == ("q8_0", "exact")
    with pytest.raises(ArgumentError, match=r"computed in f32.*Leave them out"):
        open_served(str(folder), weights="stored")
