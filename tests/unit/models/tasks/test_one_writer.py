"""A text is the same whoever asks for it: a command, the server, in parts, ``LanguageModel``, an audit; of a tokenizer
that leaves out the space of a text's first word, as those of Llama 2 and Mistral do."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator
from functools import cache
from itertools import accumulate, islice
from pathlib import Path
from typing import Any

import httpx
import pytest
import tokenizers
from typer.testing import CliRunner

from loom.cli.main import app
from loom.cli.models import asking
from loom.core.errors import ArgumentError
from loom.models.receipts import Receipt
from loom.models.tasks import TextTask, TextWriter
from loom.models.tasks.adapter import ServedLanguageModel, open_served
from loom.models.tasks.audit import audit
from loom.serve.http.application import build_application
from loom.serve.http.server import BackgroundServer
from unit.models.tasks import small
from unit.models.tasks.test_adapter import SETTINGS

PROMPT = "bad ace"


@cache
def opened() -> ServedLanguageModel:
    model = open_served(small.spaced_files(), name="spaced", on="cpu")
    assert isinstance(model, ServedLanguageModel)
    return model


@pytest.fixture(scope="module")
def web() -> Iterator[httpx.Client]:
    application = build_application([opened()])
    with BackgroundServer(application) as server, httpx.Client(base_url=server.url, verify=False, timeout=60) as made:
        yield made


def ask(web: httpx.Client, **more: Any) -> dict[str, Any]:
    body = {"model": "spaced", "prompt": PROMPT, "max_tokens": 12, "temperature": 1, **more}
    if not more.get("stream"):
        found = web.post("/v1/completions", json=body).json()
        return found["choices"][0] | {"receipt_id": found["receipt_id"]}
    lines = web.post("/v1/completions", json=body).text.splitlines()
    events = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
    text = "".join(choice["text"] for event in events for choice in event["choices"])
    offsets = [at for e in events if (told := e["choices"][0].get("logprobs")) for at in told["text_offset"]]
    return {"text": text, "receipt_id": events[-1]["receipt_id"], "offsets": offsets}


def first_seeds(count: int) -> list[tuple[int, str]]:
    """Return seeds whose texts begin with a space, and those texts."""
    texts = ((seed, opened().model.generate(PROMPT, max_tokens=12, temperature=1, seed=seed).text)
             for seed in range(60))  # fmt: skip
    found = [(seed, text) for seed, text in texts if text.startswith(" ")]
    assert len(found) >= count
    return found[:count]


@pytest.mark.parametrize("stop", [None, " b", "a"])
def test_all_write_one_text(
    web: httpx.Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: str | None
) -> None:
    monkeypatch.setattr(asking, "open_model", lambda *_: opened())
    for seed, _ in first_seeds(3):
        stops = {} if stop is None else {"stop": stop}
        wanted = opened().model.generate(
            PROMPT, max_tokens=12, temperature=1, seed=seed, stop=() if stop is None else (stop,)
        )
        whole, parts = ask(web, seed=seed, **stops), ask(web, seed=seed, stream=True, **stops)
        path = tmp_path / f"{seed}.json"
        words = ["generate", "m", "--prompt", PROMPT, "--max-tokens", "12", "--temperature", "1", "--seed", str(seed),
                 "--receipt", str(path), *([] if stop is None else ["--stop", stop])]  # fmt: skip
        assert CliRunner().invoke(app, words).stdout == wanted.text + "\n"
        assert whole["text"] == parts["text"] == wanted.text
        served, written = web.get(f"/v1/receipts/{whole['receipt_id']}").content, path.read_bytes()
        assert whole["receipt_id"] == parts["receipt_id"] == json.loads(written)["id"]
        for data in (served, written):
            receipt = Receipt.from_json(data)
            assert receipt.disclosed["text"] == wanted.text
            assert audit(receipt, opened()).differences == ()
        done = CliRunner().invoke(app, ["audit", str(path), "--model", "m"])
        assert (done.exit_code, done.stdout[:13]) == (0, "the same bits"), done.output
        if stop == " b":
            assert wanted.text == "" or not wanted.text.startswith(" b")


def test_a_stop_string_may_be_the_space_that_a_text_begins_with(web: httpx.Client) -> None:
    (seed, text), *_ = first_seeds(1)
    found = ask(web, seed=seed, stop=text[:2])
    assert (found["text"], found["finish_reason"]) == ("", "stop")
    receipt = Receipt.from_json(web.get(f"/v1/receipts/{found['receipt_id']}").content)
    assert audit(receipt, opened()).same


def decoder_of(name: str) -> Any:
    last = tokenizers.decoders
    if name == "bytes without a strip":
        return last.Sequence([last.Replace("\u2581", " "), last.ByteFallback(), last.Fuse()])
    if name == "two spaces":
        return last.Sequence([last.Replace("\u2581", " "), last.Fuse(), last.Strip(" ", 2, 0)])
    return {"metaspace": last.Metaspace(), "first": last.Metaspace(prepend_scheme="first"),
            "word pieces": last.WordPiece(), "ctc": last.CTC()}[name]  # fmt: skip


@pytest.mark.parametrize("name", ["bytes without a strip", "metaspace", "first", "word pieces"])
def test_whatever_decodes_there_is_one_text(name: str) -> None:
    """Of drawn tokens, half characters and control tokens among them, stopped anywhere, or left anywhere."""
    model = open_served(small.spaced_files(decoder_of(name)), name=name, on="cpu")
    assert isinstance(model, ServedLanguageModel)
    prompt, draw = tuple(model.encode(PROMPT)), random.Random(3)
    for seed in range(6):
        text = model.model.generate(prompt, max_tokens=16, temperature=3, seed=seed).text
        at = draw.randrange(max(len(text), 1))
        for stop in ((), *((part,) for part in (text[:2], text[at : at + 3]) if part)):
            settings = {**SETTINGS, "temperature": 3.0, "seed": seed, "max_tokens": 16, "stop": stop}
            wanted = model.model.generate(prompt, max_tokens=16, temperature=3, seed=seed, stop=stop)
            for most in (None, draw.randrange(8)):
                writer = TextWriter(model, TextTask(prompt, settings))
                parts = [part for _, part in islice(writer, most)] + [writer.flush()]
                assert "".join(parts) == writer.text
                assert most is not None or (writer.text, writer.finish_reason) == (wanted.text, wanted.finish_reason)
                assert audit(Receipt.from_json(writer.receipt().to_json()), model).differences == ()


def test_a_decoder_that_is_not_known_is_refused_before_anyone_asks() -> None:
    for name in ("ctc", "two spaces"):
        with pytest.raises(ArgumentError, match=r"tokenizer.json, decoder. not known"):
            open_served(small.spaced_files(decoder_of(name)), name="x", on="cpu")


def test_the_text_of_a_receipt_without_its_first_space_differs(web: httpx.Client) -> None:
    """What ``loom generate`` wrote of such a tokenizer in versions that dropped the space."""
    (seed, text), *_ = first_seeds(1)
    receipt = Receipt.from_json(web.get(f"/v1/receipts/{ask(web, seed=seed)['receipt_id']}").content)
    output = {**receipt.claims["output"], "text": hashlib.sha256(text[1:].encode()).hexdigest()}
    old = Receipt(dict(receipt.claims) | {"output": output}, {**receipt.disclosed, "text": text[1:]}, receipt.about)
    found = audit(Receipt.from_json(old.to_json()), opened())
    assert [each.partition(":")[0] for each in found.differences] == ["output, text"]


def test_offsets_are_those_of_the_text(web: httpx.Client) -> None:
    """Control tokens and parts of characters, which have names, move none."""
    (seed, text), *_ = first_seeds(1)
    whole = ask(web, seed=seed, logprobs=0)
    tokens, offsets = whole["logprobs"]["tokens"], whole["logprobs"]["text_offset"]
    lengths = [0 if token in ("<s>", "<unk>") else len(token) for token in tokens]
    assert "\ufffd" not in text
    assert 0 in lengths
    assert offsets == list(accumulate(lengths, initial=0))[:-1]
    assert all(text[at:].startswith(token) for at, token, n in zip(offsets, tokens, lengths, strict=True) if n)
    echoed = ask(web, seed=seed, logprobs=0, echo=True)
    assert echoed["text"] == PROMPT + text
    told = echoed["logprobs"]
    pairs = list(zip(told["text_offset"], told["tokens"], strict=True))
    pairs = [(at, token.lstrip() if at == 0 else token) for at, token in pairs if token not in ("<s>", "<unk>")]
    assert all(echoed["text"][at:].startswith(token) for at, token in pairs), pairs
    assert ask(web, seed=seed, logprobs=0, echo=True, stream=True)["offsets"] == told["text_offset"]
