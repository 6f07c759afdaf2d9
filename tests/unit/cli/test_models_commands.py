"""``loom generate``, ``chat``, ``embed``, ``audit`` and ``serve`` over a model that computes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import loom
from loom.cli.main import app
from loom.cli.models import asking
from unit.serve.standin import StandIn


@pytest.fixture(autouse=True)
def stand_in(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Have the commands open the stand-in, whatever they are told to; return what they were told."""
    told: list[tuple[Any, ...]] = []

    def opened(*arguments: Any) -> StandIn:
        told.append(arguments)
        return StandIn(context=400, writes="vectors" not in arguments[0])

    monkeypatch.setattr(asking, "open_model", opened)
    return told


def run(*arguments: object, text: str | bytes | None = None) -> Any:
    return CliRunner().invoke(app, list(map(str, arguments)), input=text)


def test_generate_goes_on_from_a_prompt(stand_in: Any, tmp_path: Path) -> None:
    assert run("generate", "m", "--prompt", "!say hello 世界").stdout == "hello 世界\n"
    assert run("generate", "m", text="!say from stdin").stdout == "from stdin\n"
    assert run("generate", "m", "--prompt", "!say one two", "--stop", "x", "--stop", " t").stdout == "one\n"
    assert run("generate", "m", "--prompt", "!say one two", "--max-tokens", 3).stdout == "one\n"
    texts = {run("generate", "m", "--prompt", "a", "--temperature", 1, "--seed", s).stdout for s in (1, 1, 2)}
    assert len(texts) == 2
    for option, value in [("--top-k", 5), ("--top-p", 0.5), ("--min-p", 0.1), ("--system", "x"), ("--chat", None)]:
        settings = [option] if value is None else [option, value]
        other = run("generate", "m", "--prompt", "a", "--temperature", 1, "--seed", 1, *settings)
        assert other.exit_code == 0
        assert other.stdout not in texts, option
    schema = tmp_path / "schema.json"
    schema.write_text('{"type": "object"}')
    assert json.loads(run("generate", "m", "--prompt", "a", "--json-schema", schema).stdout) == {"answer": 42}
    run("generate", "m", "--prompt", "a", "--weights", "stored", "--compute", "q8", "--on", "cpu")
    assert stand_in[-1] == ("m", "cpu", "stored", "q8")


def test_generate_as_json_with_its_receipt(tmp_path: Path) -> None:
    path = tmp_path / "receipt.json"
    found = json.loads(run("generate", "m", "--prompt", "!say yes", "--json", "--receipt", path).stdout)
    assert (found["text"], found["finish_reason"], len(found["tokens"])) == ("yes", "stop", 4)
    assert found["receipt"] == json.loads(path.read_bytes())["id"]
    done = run("audit", path, "--model", "m")
    assert (done.exit_code, done.stdout.startswith("the same bits on none: 4 tokens")) == (0, True)
    assert json.loads(run("audit", path, "--model", "m", "--json").stdout)["same"] is True


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("generate", "m", "--prompt", "x" * 500), "longer than the model's context"),
        (("generate", "m", "--prompt", "x", "--max-tokens", "400"), "smaller --max-tokens"),
        (("generate", "m", "--prompt", "!refuse"), "a prompt of this kind"),
        (("generate", "m", "--prompt", "!device"), "the device is gone"),
        (("generate", "m", "--prompt", "x", "--json-schema", "none.json"), "No such file"),
        (("generate", "m", "--prompt", "x", "--json-schema", "bad.json"), "is no JSON"),
        (("embed", "m", "none.txt"), "No such file"),
        (("embed", "m", "gap.txt"), "gap.txt, line 2"),
        (("embed", "m", "bytes.txt"), "not UTF-8"),
        (("embed", "m", "good.txt", "--out", "x.csv"), "not such a file"),
        (("embed", "m", "good.txt", "--metric", "dot"), "it is of a store"),
        (("audit", "bad.json", "--model", "m"), "not a sound receipt"),
        (("serve", "m", "--host", "0.0.0.0"), "no key is asked for"),
        (("serve", "m", "--key", "a b"), "not a key"),
        (("serve", "m", "--key", "a", "--no-key"), "a key and none"),
        (("serve", "m", "--key-file", "gap.txt", "--port", "0"), "not a key"),
        (("serve", "m", "--key-file", "none.txt", "--port", "0"), "No such file"),
        (("serve", "=m", "--port", "0"), "names no model"),
        (("serve", "m", "--timeout", "0"), "no time at all"),
        (("serve", "none", "--port", "0", "--allow-origin", "*"), "no origin of a page"),
        (("serve", "none", "--port", "0", "--allow-host", "http://a"), "no name of a host"),
    ],
)
def test_errors_are_one_line(
    arguments: tuple[str, ...], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, data in {
        "bad.json": b"{",
        "gap.txt": b"a\n\nb\n",
        "bytes.txt": b"a\n\xff\n",
        "good.txt": b"a\nb",
    }.items():
        (tmp_path / name).write_bytes(data)
    done = run(*arguments)
    assert done.exit_code == 2, done.output
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_chat_remembers_until_it_is_reset() -> None:
    lines = "hello\nhello\n\n/reset\nhello\n/nonsense\n/exit\nnever\n"
    done = run("chat", "m", text=lines)
    first, second, third = done.stdout.splitlines()
    assert first == third != second
    assert "there is no /nonsense" in done.stderr
    assert run("chat", "m", text="hello").stdout == first + "\n"  # the end without a line's end
    assert run("chat", "m", "--system", "you", text="hello").stdout != first + "\n"
    assert run("chat", "m", text=b"\xff\n").exit_code == 2
    assert "Shorten" in run("chat", "m", text="x" * 500).stderr


def test_embeddings_are_written_in_three_ways(tmp_path: Path) -> None:
    texts = ["one", "two words", "drei ü"]
    lines, receipt = tmp_path / "lines.txt", tmp_path / "receipt.json"
    lines.write_text("\n".join(texts) + "\n", encoding="utf-8")
    wanted = StandIn().embed([list(text.encode()) for text in texts])
    told = [json.loads(line) for line in run("embed", "m", lines, "--receipt", receipt).stdout.splitlines()]
    assert [each["text"] for each in told] == texts
    assert np.array_equal(np.asarray([each["embedding"] for each in told], np.float32), wanted)
    for batch in (1, 100):
        run("embed", "m", lines, "--out", tmp_path / "v.npy", "--batch", batch)
        assert np.array_equal(np.load(tmp_path / "v.npy"), wanted)
    run("embed", "m", lines, "--out", tmp_path / "v.jsonl")
    assert [json.loads(line) for line in (tmp_path / "v.jsonl").read_text().splitlines()] == told
    assert run("embed", "m", "-", text="\n".join(texts)).stdout == run("embed", "m", lines).stdout
    done = run("embed", "m", lines, "--out", tmp_path / "v.ldb", "--metric", "dot")
    assert done.exit_code == 0, done.output
    with loom.vectors.restore(tmp_path / "v.ldb") as store:
        hit = store.search(wanted[1], 1)[0]
        assert (hit.id, hit.meta, store.metric) == (2, {"text": "two words"}, "dot")
    assert "there is a store" in run("embed", "m", lines, "--out", tmp_path / "v.ldb").stderr
    assert run("audit", receipt, "--model", "m").stdout.startswith("the same bits on none: 3 vectors")


def test_what_a_model_cannot_take_is_named_by_its_line(tmp_path: Path) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_text("one\n" + "x" * 500 + "\n")
    for batch in (1, 32):
        done = run("embed", "m", lines, "--batch", batch)
        assert (done.exit_code, "lines.txt, line 2" in done.stderr) == (2, True), done.stderr
    assert "it has no tokens" in run("generate", "m", "--prompt", "").stderr
    assert "it has no tokens" in run("generate", "m", text="").stderr
