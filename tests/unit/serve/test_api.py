"""The server by the official client: what it is asked it does, and what it says agrees with itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import openai
import pytest

from loom.core.errors import ArgumentError
from loom.models.receipts import Receipt
from loom.serve.http.application import build_application
from loom.serve.http.server import BackgroundServer
from loom.serve.limits import ServerLimits
from unit.serve.standin import StandIn


@pytest.fixture(scope="module")
def server() -> Iterator[BackgroundServer]:
    models = [StandIn(), StandIn("vectors", writes=False), StandIn("small", context=40)]
    with BackgroundServer(build_application(models)) as served:
        yield served


@pytest.fixture(scope="module")
def client(server: BackgroundServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as made:
        yield made


@pytest.fixture(scope="module")
def web(server: BackgroundServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, verify=False) as made:
        yield made


def chat(client: openai.OpenAI, text: str, **settings: Any) -> Any:
    messages: Any = [{"role": "user", "content": text}]
    return client.chat.completions.create(model=settings.pop("model", "stand-in"), messages=messages, **settings)


def refused(call: Any) -> Any:
    """Return the error's body of a call that is refused."""
    with pytest.raises(openai.APIStatusError) as caught:
        call()
    return caught.value.status_code, caught.value.body


def test_models_are_listed(client: openai.OpenAI) -> None:
    assert [m.id for m in client.models.list()] == ["stand-in", "vectors", "small"]
    assert client.models.retrieve("vectors").owned_by == "loom"
    status, body = refused(lambda: client.models.retrieve("other"))
    assert (status, body["code"], body["type"]) == (404, "model_not_found", "not_found_error")


def test_a_chat_is_the_same_in_parts_and_whole(client: openai.OpenAI) -> None:
    settings: dict[str, Any] = {"seed": 7, "n": 2, "logprobs": True, "top_logprobs": 3, "max_completion_tokens": 20}
    whole = chat(client, "!say grüße, 世界 🙂", **settings)
    assert [c.message.content for c in whole.choices] == ["grüße, 世界"] * 2 or whole.choices[
        0
    ].finish_reason == "length"
    found: dict[int, list[Any]] = {0: [], 1: []}
    last: Any = None
    options: Any = {"include_usage": True}
    for event in chat(client, "!say grüße, 世界 🙂", stream=True, stream_options=options, **settings):
        for choice in event.choices:
            found[choice.index].append(choice)
        last = event
    for choice in whole.choices:
        parts = found[choice.index]
        assert parts[0].delta.role == "assistant"
        assert "".join(p.delta.content or "" for p in parts) == choice.message.content
        scored = [t for p in parts if p.logprobs is not None for t in p.logprobs.content]
        assert [(t.bytes, t.logprob, len(t.top_logprobs)) for t in scored] == [
            (t.bytes, t.logprob, 3) for t in choice.logprobs.content
        ]
        assert parts[-1].finish_reason == choice.finish_reason
        assert parts[-1].receipt_id == choice.receipt_id
    assert last.choices == []
    assert last.usage == whole.usage
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens


def test_a_character_is_never_broken(client: openai.OpenAI) -> None:
    events = list(chat(client, "!say 世界🙂ü", stream=True))
    parts = [e.choices[0].delta.content for e in events if e.choices[0].delta.content]
    assert parts == ["世", "界", "🙂", "ü"]


def test_seeds_and_temperatures(client: openai.OpenAI) -> None:
    one, same, other = (chat(client, "hello", seed=s).choices[0].message.content for s in (1, 1, 2))
    assert one == same != other
    two = chat(client, "hello", seed=1, n=2).choices
    assert two[0].message.content == one != two[1].message.content
    greedy = {chat(client, "hello", temperature=0, seed=s).choices[0].message.content for s in (1, 2)}
    assert len(greedy) == 1
    assert chat(client, "hello", temperature=0).receipt_id == chat(client, "hello", temperature=0).receipt_id
    unseeded = [chat(client, "hello").choices[0].message.content for _ in range(2)]
    assert unseeded[0] != unseeded[1]


def test_stop_strings_end_a_text_before_them(client: openai.OpenAI) -> None:
    found = chat(client, "!say one two three", stop=["wo th", "zzz"])
    assert (found.choices[0].message.content, found.choices[0].finish_reason) == ("one t", "stop")
    parts = [e.choices[0].delta.content or "" for e in chat(client, "!say one two three", stop="two x", stream=True)]
    assert "".join(parts) == "one two three"
    assert "two " in parts  # held back until it could not be the beginning of a stop string


def test_json_is_asked_for(client: openai.OpenAI) -> None:
    found = chat(client, "x", response_format={"type": "json_object"})
    assert json.loads(found.choices[0].message.content) == {"answer": 42}
    schema: Any = {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}, "strict": True}}
    assert json.loads(chat(client, "x", response_format=schema).choices[0].message.content) == {"answer": 42}
    schema["json_schema"]["schema"] = {"type": "impossible"}
    status, body = refused(lambda: chat(client, "x", response_format=schema))
    assert (status, "no such schema" in body["message"]) == (400, True)


def test_completions_of_texts_and_tokens(client: openai.OpenAI) -> None:
    def complete(prompt: Any, **settings: Any) -> Any:
        return client.completions.create(model="stand-in", prompt=prompt, seed=3, **settings)

    text, tokens = complete("abc").choices[0].text, complete([97, 98, 99]).choices[0].text
    assert text == tokens
    assert len(text) == 16  # OpenAI's default
    both = complete(["abc", "abd"], n=2)
    assert [c.index for c in both.choices] == [0, 1, 2, 3]
    assert both.choices[0].text == text
    assert both.usage.prompt_tokens == 6
    echoed = complete([[97, 98, 99]], echo=True, logprobs=1, max_tokens=2).choices[0]
    assert echoed.text == "abc" + text[:2]
    assert echoed.logprobs.tokens == list(echoed.text)
    assert echoed.logprobs.text_offset == [0, 1, 2, 3, 4]
    assert echoed.logprobs.token_logprobs[:2] == [None, -0.5]
    seen = complete("abc", echo=True, logprobs=0, max_tokens=0)
    assert (seen.choices[0].text, seen.usage.completion_tokens) == ("abc", 0)
    events = list(complete("abc", echo=True, stream=True, logprobs=1, max_tokens=2))
    assert "".join(e.choices[0].text for e in events) == echoed.text
    offsets = [at for e in events if e.choices[0].logprobs for at in e.choices[0].logprobs.text_offset]
    assert offsets == echoed.logprobs.text_offset


def test_embeddings_keep_their_bits(client: openai.OpenAI) -> None:
    texts = ["one", "two"]
    coded = client.embeddings.create(model="vectors", input=texts)
    plain = client.embeddings.create(model="vectors", input=texts, encoding_format="float")
    wanted = StandIn().embed([list(t.encode()) for t in texts])
    for found in (coded, plain):
        assert np.array_equal(np.asarray([d.embedding for d in found.data], np.float32).view(np.uint32),
                              wanted.view(np.uint32))  # fmt: skip
    tokens = client.embeddings.create(model="vectors", input=[list(b"one"), list(b"two")])
    assert tokens.data[1].embedding == coded.data[1].embedding
    assert coded.usage.total_tokens == 6
    status, body = refused(lambda: chat(client, "x", model="vectors"))
    assert (status, body["code"]) == (400, "model_not_supported")


def test_each_answer_has_a_receipt(client: openai.OpenAI, web: httpx.Client) -> None:
    found = chat(client, "!say yes", n=2, seed=5, user="anna", metadata={"job": "7"})
    receipts = [Receipt.from_json(web.get(f"/v1/receipts/{c.receipt_id}").content) for c in found.choices]
    for at, (receipt, choice) in enumerate(zip(receipts, found.choices, strict=True)):
        assert receipt.id == choice.receipt_id
        assert receipt.disclosed["text"] == choice.message.content == "yes"
        assert receipt.claims["settings"]["seed"] == "5"
        assert receipt.claims["settings"]["stream"] == at
        assert receipt.about["user"] == "anna"
        assert receipt.about["metadata"] == {"job": "7"}
    listed = web.get(f"/v1/receipts/{found.id}").json()["data"]
    assert [r["id"] for r in listed] == [c.receipt_id for c in found.choices]
    again = chat(client, "!say yes", n=2, seed=5)
    assert [c.receipt_id for c in again.choices] == [r.id for r in receipts]  # who asks and when is no claim
    vectors = client.embeddings.create(model="vectors", input="one").model_dump()["receipt_id"]
    assert Receipt.from_json(web.get(f"/v1/receipts/{vectors}").content).claims["kind"] == "embedding"
    assert web.get(f"/v1/receipts/{'0' * 64}").status_code == 404


@pytest.mark.parametrize(
    ("settings", "param", "code"),
    [
        ({"colour": "red"}, "colour", "unknown_parameter"),
        ({"tools": [{"type": "function"}]}, "tools", "unsupported_parameter"),
        ({"best_of": 2}, "best_of", "unknown_parameter"),
        ({"store": False}, "store", "unsupported_parameter"),
        ({"temperature": 3}, "temperature", "invalid_value"),
        ({"temperature": "1"}, "temperature", "invalid_type"),
        ({"top_p": 0}, "top_p", "invalid_value"),
        ({"n": 0}, "n", "invalid_value"),
        ({"n": True}, "n", "invalid_type"),
        ({"max_tokens": -1}, "max_tokens", "invalid_value"),
        ({"max_tokens": 1, "max_completion_tokens": 1}, "max_tokens", "invalid_value"),
        ({"top_logprobs": 2}, "top_logprobs", "invalid_value"),
        ({"logit_bias": {"300": 1}}, "logit_bias.300", "invalid_value"),
        ({"logit_bias": {"x": 1}}, "logit_bias.x", "invalid_value"),
        ({"logit_bias": {str(n): 1 for n in range(5000)}}, "logit_bias", "invalid_value"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop", "invalid_value"),
        ({"stop": ""}, "stop", "invalid_value"),
        ({"seed": 1.5}, "seed", "invalid_type"),
        ({"stream_options": {"include_usage": True}}, "stream_options", "invalid_value"),
        ({"response_format": {"type": "yaml"}}, "response_format.type", "invalid_value"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "missing_required_parameter"),
        ({"messages": []}, "messages", "invalid_type"),
        ({"messages": [{"role": "king", "content": "x"}]}, "messages[0].role", "invalid_value"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role", "unsupported_parameter"),
        ({"messages": [{"role": "user", "content": "x", "name": "y"}]}, "messages[0].name", "unsupported_parameter"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0]",
         "unsupported_parameter"),
        ({"model": None}, "model", "missing_required_parameter"),
        ({"model": ["stand-in"]}, "model", "invalid_type"),
        ({"max_tokens": 5000}, "messages", "context_length_exceeded"),
        ({"model": "small", "messages": [{"role": "user", "content": "x" * 50}]}, "messages",
         "context_length_exceeded"),
    ],
)  # fmt: skip
def test_what_is_not_done_is_refused_by_name(
    web: httpx.Client, settings: dict[str, Any], param: str, code: str
) -> None:
    body = {"model": "stand-in", "messages": [{"role": "user", "content": "x"}], **settings}
    found = web.post("/v1/chat/completions", json=body)
    error = found.json()["error"]
    assert (found.status_code, error["param"], error["code"]) == (400, param, code), error
    assert error["type"] == "invalid_request_error"
    assert code == "context_length_exceeded" or f"'{param}'" in error["message"]


def test_the_context_of_a_model_is_told_right() -> None:
    """What the server takes beside it is told as the server's."""
    limits = ServerLimits(prompt_tokens=100)
    models = [StandIn(), StandIn("small", context=40)]
    with BackgroundServer(build_application(models, limits=limits)) as served, httpx.Client(
        base_url=served.url, verify=False
    ) as web:  # fmt: skip
        for path, name in (("/v1/completions", "prompt"), ("/v1/embeddings", "input")):
            for model, count, says in [("stand-in", 5000, "context is 4096 tokens"), ("small", 200, "is 40 tokens"),
                                       ("stand-in", 200, "this server takes at most 100 tokens")]:  # fmt: skip
                error = web.post(path, json={"model": model, name: "x" * count}).json()["error"]
                assert (error["code"], says in error["message"]) == ("context_length_exceeded", True), error
                assert error["param"].startswith(name)


def test_null_means_that_a_field_is_not_there(web: httpx.Client) -> None:
    names = ("temperature", "tools", "seed", "stop", "logprobs", "max_tokens", "response_format", "user", "stream")
    answer = {"role": "assistant", "content": "a", "refusal": None, "tool_calls": None, "annotations": []}
    body = {"model": "stand-in", "messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}, answer],
            **dict.fromkeys(names)}  # fmt: skip
    assert web.post("/v1/chat/completions", json=body).status_code == 200


def test_errors_of_the_engine_are_told_without_its_inside(client: openai.OpenAI, caplog: Any) -> None:
    status, body = refused(lambda: chat(client, "!refuse"))
    assert (status, body["type"]) == (400, "invalid_request_error")
    status, body = refused(lambda: chat(client, "!fail"))
    assert (status, body["code"], "secret" in json.dumps(body)) == (500, "internal_error", False)
    status, body = refused(lambda: chat(client, "!device"))
    assert (status, "the device is gone" in body["message"]) == (500, True)
    with pytest.raises(openai.APIError, match="an error of its own"):
        list(chat(client, "!fail", stream=True))
    assert caplog.text.count("RuntimeError: a secret of the inside") == 2  # the log has it
    assert chat(client, "!say fine").choices[0].message.content == "fine"


def test_metrics_are_those_of_prometheus(client: openai.OpenAI, web: httpx.Client) -> None:
    chat(client, "!say counted", max_tokens=3)
    text = web.get("/metrics").text
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(values['loom_requests_total{endpoint="/v1/chat/completions",status="200"}']) >= 1
    assert float(values['loom_tokens_total{kind="completion",model="stand-in"}']) >= 3
    assert values["loom_sequences_running"] == values["loom_sequences_waiting"] == "0"
    assert values['loom_engine{model="stand-in",what="pages_free"}'] == "7"
    buckets = [float(v) for k, v in values.items() if k.startswith("loom_first_token_seconds_bucket")]
    assert buckets == sorted(buckets)
    assert buckets[-1] == float(values["loom_first_token_seconds_count"])
    assert web.get("/health").json()["status"] == "ok"


def test_models_of_one_name_are_refused() -> None:
    with pytest.raises(ArgumentError, match="'stand-in' twice"):
        build_application([StandIn(), StandIn()])
    with pytest.raises(ArgumentError, match="no model"):
        build_application([])
