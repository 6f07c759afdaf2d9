"""Requests for text: completions and chats, as OpenAI's interface words them, with a few fields more.

Layer: serve. Invariant: what is asked is decided here, before anything is computed: every field is used, or the request
is refused with the field's name.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any, cast

from loom.core.late.dataclass import dataclass
from loom.models.sampling.config import MOST_BIAS
from loom.models.tasks.claims import schema_text
from loom.models.tasks.port import ServedModel, TextConstraint, TextTask
from loom.serve.api.fields import FieldRule, boolean, choice, number, read_fields, text, texts, whole_number
from loom.serve.api.messages import read_messages
from loom.serve.limits import ServerLimits
from loom.serve.refusals import Refusal, field_refusal, too_long

__all__ = ["EmbeddingRequest", "TextRequest", "read_chat", "read_completion", "read_embedding"]

_MOST_TEXT = 1 << 24
_MOST_STOPS = 4
_MOST_TOP = 20
_SEEDS = 1 << 63
_ECHOED = 16
"""Keys of ``metadata``, as OpenAI limits them."""


@dataclass(frozen=True, slots=True)
class TextRequest:
    """Texts that are asked for: one task each, ``n`` after each other for each prompt."""

    tasks: tuple[TextTask, ...]
    stream: bool
    include_usage: bool
    echo: bool
    scored: bool
    """Whether tokens' probabilities are told."""
    stops: tuple[str, ...]
    about: Mapping[str, Any]
    """What the receipt echoes: ``user``, ``metadata``."""
    prompts: int


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """Texts whose vectors are asked for, as tokens."""

    rows: tuple[tuple[int, ...], ...]
    base64: bool
    about: Mapping[str, Any]


# fields of both kinds of texts


def _read_stop(value: Any, param: str) -> tuple[str, ...]:
    return cast("tuple[str, ...]", texts(_MOST_STOPS, text(1000, 1))(value, param))


def _read_bias(value: Any, param: str) -> dict[int, float]:
    if not isinstance(value, dict):
        raise field_refusal(param, "expected an object of token ids and numbers.", code="invalid_type")
    if len(cast("dict[str, Any]", value)) > MOST_BIAS:
        raise field_refusal(param, f"expected at most {MOST_BIAS} tokens.")
    found: dict[int, float] = {}
    for key, bias in cast("dict[str, Any]", value).items():
        if not (key.isascii() and key.isdecimal() and len(key) < 10):
            raise field_refusal(f"{param}.{key[:20]}", "expected a token id as the key.")
        found[int(key)] = number(-100, 100)(bias, f"{param}.{key}")
    if len(found) != len(cast("dict[str, Any]", value)):
        raise field_refusal(param, "a token id is there twice.")
    return found


def _read_metadata(value: Any, param: str) -> dict[str, str]:
    if not isinstance(value, dict) or len(cast("dict[str, Any]", value)) > _ECHOED:
        raise field_refusal(param, f"expected an object of at most {_ECHOED} strings.", code="invalid_type")
    read = text(512)
    given = cast("dict[str, Any]", value)
    return {text(64)(key, f"{param} key"): read(each, f"{param}.{key[:64]}") for key, each in given.items()}


_STREAM_OPTIONS = {"include_usage": FieldRule(boolean, False)}


def _read_stream_options(value: Any, param: str) -> bool:
    if not isinstance(value, dict):
        raise field_refusal(param, "expected an object.", code="invalid_type")
    undone = {"include_obfuscation": "answers are not padded"}
    return read_fields(cast("dict[str, Any]", value), _STREAM_OPTIONS, undone, f"{param}.")["include_usage"]


def _read_format(value: Any, param: str) -> TextConstraint | None:
    if not isinstance(value, dict):
        raise field_refusal(param, "expected an object.", code="invalid_type")
    given = cast("dict[str, Any]", value)
    kind = choice("text", "json_object", "json_schema")(given.get("type"), f"{param}.type")
    if kind != "json_schema":
        read_fields(given, {"type": FieldRule(text(20))}, {}, f"{param}.")
        return None if kind == "text" else TextConstraint("json")
    rules = {"type": FieldRule(text(20)), "json_schema": FieldRule(_object, required=True)}
    about = read_fields(given, rules, {}, f"{param}.")
    inner = read_fields(
        about["json_schema"],
        {"name": FieldRule(text(64, 1), required=True), "schema": FieldRule(_object, required=True),
         "strict": FieldRule(boolean, True), "description": FieldRule(text(1000))},
        {}, f"{param}.json_schema.",
    )  # fmt: skip
    if inner["strict"] is False:
        raise field_refusal(f"{param}.json_schema.strict", "a schema always holds here: leave it out, or pass true.")
    if inner["description"] is not None:
        raise field_refusal(f"{param}.json_schema.description", "the model does not see it: say it in a message.")
    return TextConstraint("json_schema", schema_text(inner["schema"]))


def _object(value: Any, param: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise field_refusal(param, "expected an object.", code="invalid_type")
    return cast("dict[str, Any]", value)


def _common(limits: ServerLimits) -> dict[str, FieldRule]:
    return {
        "model": FieldRule(text(500), required=True),
        "temperature": FieldRule(number(0, 2), 1.0),
        "top_p": FieldRule(number(0, 1, above=True), 1.0),
        "top_k": FieldRule(whole_number(0, 1 << 24), 0),
        "min_p": FieldRule(number(0, 1), 0.0),
        "repetition_penalty": FieldRule(number(0, 100, above=True), 1.0),
        "frequency_penalty": FieldRule(number(-2, 2), 0.0),
        "presence_penalty": FieldRule(number(-2, 2), 0.0),
        "logit_bias": FieldRule(_read_bias, {}),
        "seed": FieldRule(whole_number(-_SEEDS, _SEEDS - 1)),
        "stop": FieldRule(_read_stop, ()),
        "n": FieldRule(whole_number(1, limits.choices), 1),
        "stream": FieldRule(boolean, False),
        "stream_options": FieldRule(_read_stream_options),
        "response_format": FieldRule(_read_format),
        "user": FieldRule(text(512)),
        "metadata": FieldRule(_read_metadata),
    }


_SETTINGS = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty", "frequency_penalty", "presence_penalty",
             "logit_bias")  # fmt: skip

_NO_TOOLS = "tools are not called; ask for JSON with response_format"
_CHAT_UNDONE = {
    "tools": _NO_TOOLS, "tool_choice": _NO_TOOLS, "functions": _NO_TOOLS, "function_call": _NO_TOOLS,
    "parallel_tool_calls": _NO_TOOLS,
    "audio": "text alone is written", "modalities": "text alone is written",
    "prediction": "nothing is predicted", "reasoning_effort": "models think as they do",
    "verbosity": "say it in a message",
    "web_search_options": "nothing is searched", "service_tier": "there is one tier",
    "store": "answers are not stored, receipts are", "safety_identifier": "use user, which the receipt echoes",
    "prompt_cache_key": "beginnings that were seen are found by themselves",
    "prompt_cache_retention": "beginnings that were seen are found by themselves", "moderation": "nothing is moderated",
}  # fmt: skip
_COMPLETION_UNDONE = {
    "suffix": "text is written after a prompt, not within", "best_of": "ask for n, and choose",
}  # fmt: skip


def read_chat(body: Mapping[str, Any], model: ServedModel, limits: ServerLimits) -> TextRequest:
    """Return what a request for a chat asks; blocks while it makes tokens."""
    known = {
        **_common(limits),
        "messages": FieldRule(read_messages, required=True),
        "max_tokens": FieldRule(whole_number(1, limits.output_tokens)),
        "max_completion_tokens": FieldRule(whole_number(1, limits.output_tokens)),
        "logprobs": FieldRule(boolean, False),
        "top_logprobs": FieldRule(whole_number(0, _MOST_TOP)),
    }
    asked = read_fields(body, known, _CHAT_UNDONE)
    _require_writer(model)
    if asked["top_logprobs"] is not None and not asked["logprobs"]:
        raise field_refusal("top_logprobs", "it needs 'logprobs': true.")
    if asked["max_tokens"] is not None and asked["max_completion_tokens"] is not None:
        raise field_refusal("max_tokens", "max_completion_tokens is there too: pass one of them.")
    most = asked["max_completion_tokens"] if asked["max_tokens"] is None else asked["max_tokens"]
    tokens = model.encode_chat(asked["messages"])
    return _request(asked, [tokens], most, asked["top_logprobs"] or 0, model, limits, "messages")


def read_completion(body: Mapping[str, Any], model: ServedModel, limits: ServerLimits) -> TextRequest:
    """Return what a request for a completion asks; blocks while it makes tokens."""
    known = {
        **_common(limits),
        "prompt": FieldRule(_read_prompts(model, limits), required=True),
        "max_tokens": FieldRule(whole_number(0, limits.output_tokens), 16),
        "echo": FieldRule(boolean, False),
        "logprobs": FieldRule(whole_number(0, _MOST_TOP)),
    }
    asked = read_fields(body, known, _COMPLETION_UNDONE)
    _require_writer(model)
    asked["prompt"] = [_encode(model, prompt) for prompt in asked["prompt"]]
    if len(asked["prompt"]) * asked["n"] > limits.prompts:
        raise field_refusal("n", f"at most {limits.prompts} texts are written for a request.")
    if asked["max_tokens"] == 0 and not asked["echo"]:
        raise field_refusal("max_tokens", "0 writes nothing: pass 'echo': true to see the prompt's tokens.")
    return _request(asked, asked["prompt"], asked["max_tokens"], asked["logprobs"] or 0, model, limits, "prompt")


def _require_writer(model: ServedModel) -> None:
    if not model.writes:
        raise Refusal(400, f"The model '{model.name}' makes vectors, no text: use /v1/embeddings.", param="model",
                      code="model_not_supported")  # fmt: skip


def _request(
    asked: Mapping[str, Any], prompts: list[list[int]], most: int | None, top: int, model: ServedModel,
    limits: ServerLimits, param: str,
) -> TextRequest:  # fmt: skip
    if asked["stream_options"] is not None and not asked["stream"]:
        raise field_refusal("stream_options", "it needs 'stream': true.")
    for token in asked["logit_bias"]:
        if token >= model.vocabulary_size:
            raise field_refusal(f"logit_bias.{token}", f"the model has {model.vocabulary_size} tokens.")
    drawn = secrets.randbits(32) if asked["temperature"] > 0 else 0
    seed = drawn if asked["seed"] is None else asked["seed"]
    base = {name: asked[name] for name in _SETTINGS} | {"stop": asked["stop"]}
    tasks: list[TextTask] = []
    for prompt in prompts:
        room = _room(prompt, most, model, limits, param)
        for at in range(asked["n"]):
            settings = {**base, "max_tokens": room, "seed": seed % (1 << 64), "stream": at}
            tasks.append(TextTask(tuple(prompt), settings, asked["response_format"], top))
    about = {name: asked[name] for name in ("user", "metadata") if asked[name] is not None}
    scored = asked["logprobs"] is not None and asked["logprobs"] is not False
    return TextRequest(tuple(tasks), asked["stream"], bool(asked["stream_options"]), bool(asked.get("echo")), scored,
                       asked["stop"], about, len(prompts))  # fmt: skip


def _room(prompt: list[int], most: int | None, model: ServedModel, limits: ServerLimits, param: str) -> int:
    """Return how many tokens may be written after a prompt; Refusal where there is no place."""
    if not prompt:
        raise field_refusal(param, "it has no tokens.")
    left = model.context_length - len(prompt)
    if left < (1 if most is None else most):
        raise too_long(param, len(prompt), model.context_length, 1 if most is None else most)
    _require_length(param, prompt, limits)
    return min(left, limits.output_tokens) if most is None else most


def _require_length(param: str, tokens: Sequence[int], limits: ServerLimits) -> None:
    if len(tokens) > limits.prompt_tokens:
        raise field_refusal(
            param,
            f"this server takes at most {limits.prompt_tokens} tokens of a text, got {len(tokens)}.",
            code="context_length_exceeded",
        )


# prompts, as texts or tokens


def _read_prompts(model: ServedModel, limits: ServerLimits, named: str = "prompt") -> Any:
    """Return a reader of one prompt or several, each a text or a list of tokens."""

    def read(value: Any, param: str) -> list[str | list[int]]:
        if isinstance(value, str) or _is_tokens(value):
            return [_one(value, param)]
        if not isinstance(value, list) or not value:
            raise field_refusal(param, "expected a string, an array of strings, of tokens, or of arrays of tokens.",
                               code="invalid_type")  # fmt: skip
        several = cast("list[Any]", value)
        if len(several) > limits.prompts:
            raise field_refusal(param, f"expected at most {limits.prompts} {named}s, got {len(several)}.")
        if len({isinstance(each, str) for each in several}) > 1:
            raise field_refusal(param, "texts and tokens stand beside each other.", code="invalid_type")
        return [_one(each, f"{param}[{at}]") for at, each in enumerate(several)]

    def _one(value: Any, param: str) -> str | list[int]:
        if isinstance(value, str):
            return cast("str", text(_MOST_TEXT, 1)(value, param))
        if not _is_tokens(value):
            raise field_refusal(param, "expected a string or an array of tokens.", code="invalid_type")
        tokens = cast("list[int]", value)
        wrong = next((at for at, token in enumerate(tokens) if not 0 <= token < model.vocabulary_size), None)
        if wrong is not None:
            raise field_refusal(f"{param}[{wrong}]", f"the model's tokens are 0 to {model.vocabulary_size - 1}.")
        return tokens

    return read


def _is_tokens(value: Any) -> bool:
    return (
        isinstance(value, list)
        and bool(cast("list[Any]", value))
        and all(type(token) is int for token in cast("list[Any]", value))
    )


def _encode(model: ServedModel, prompt: str | list[int]) -> list[int]:
    return model.encode(prompt) if isinstance(prompt, str) else prompt


def read_embedding(body: Mapping[str, Any], model: ServedModel, limits: ServerLimits) -> EmbeddingRequest:
    """Return what a request for vectors asks; blocks while it makes tokens."""
    known = {
        "model": FieldRule(text(500), required=True),
        "input": FieldRule(_read_prompts(model, limits, "input"), required=True),
        "encoding_format": FieldRule(choice("float", "base64"), "float"),
        "user": FieldRule(text(512)),
    }
    asked = read_fields(body, known, {"dimensions": "vectors are as long as the model makes them"})
    if not model.embeds:
        raise Refusal(400, f"The model '{model.name}' makes no vectors.", param="model", code="model_not_supported")
    rows = tuple(tuple(_encode(model, each)) for each in asked["input"])
    for at, row in enumerate(rows):
        if not row:
            raise field_refusal(f"input[{at}]", "it has no tokens.")
        if len(row) > model.context_length:
            raise too_long("input", len(row), model.context_length)
        _require_length(f"input[{at}]", row, limits)
    about = {} if asked["user"] is None else {"user": asked["user"]}
    return EmbeddingRequest(rows, asked["encoding_format"] == "base64", about)
