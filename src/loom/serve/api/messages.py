"""The messages of a chat: roles and texts, as a model's template takes them.

Layer: serve. Invariant: a message's every part is text that the template gets; a picture is refused, not left out.
"""

from __future__ import annotations

from typing import Any, cast

from loom.serve.api.fields import FieldRule, choice, read_fields, text
from loom.serve.refusals import Refusal, field_refusal

__all__ = ["read_messages"]

_MOST_MESSAGES = 4096
_MOST_TEXT = 1 << 24
_ROLES = ("system", "developer", "user", "assistant")
_UNDONE = {
    "name": "templates know no names: write it into the content", "tool_calls": "tools are not called",
    "tool_call_id": "tools are not called", "function_call": "tools are not called", "audio": "text alone is read",
    "refusal": "write it into the content", "annotations": "text alone is read",
}  # fmt: skip
_KNOWN = {"role": FieldRule(choice(*_ROLES), required=True)}


def read_messages(value: Any, param: str) -> list[dict[str, str]]:
    """Return messages as ``role`` and ``content``; the role ``developer`` is what templates call ``system``."""
    if not isinstance(value, list) or not value:
        raise field_refusal(param, "expected an array of messages.", code="invalid_type")
    several = cast("list[Any]", value)
    if len(several) > _MOST_MESSAGES:
        raise field_refusal(param, f"expected at most {_MOST_MESSAGES} messages, got {len(several)}.")
    return [_message(each, f"{param}[{at}]") for at, each in enumerate(several)]


def _message(value: Any, param: str) -> dict[str, str]:
    if not isinstance(value, dict):
        raise field_refusal(param, "expected an object with 'role' and 'content'.", code="invalid_type")
    given = cast("dict[str, Any]", value)
    if given.get("role") in ("tool", "function"):
        raise Refusal(400, f"'{param}.role' is not supported: tools are not called.", param=f"{param}.role",
                      code="unsupported_parameter")  # fmt: skip
    # an answer that a client sends back has empty arrays of what it has not
    kept = {k: v for k, v in given.items() if not (k in _UNDONE and v == [])}
    found = read_fields(kept, {**_KNOWN, "content": FieldRule(_content, required=True)}, _UNDONE, f"{param}.")
    return {"role": "system" if found["role"] == "developer" else found["role"], "content": found["content"]}


def _content(value: Any, param: str) -> str:
    if not isinstance(value, list):
        return cast("str", text(_MOST_TEXT)(value, param))
    parts: list[str] = []
    for at, part in enumerate(cast("list[Any]", value)):
        where = f"{param}[{at}]"
        if not isinstance(part, dict):
            raise field_refusal(where, "expected an object with 'type' and 'text'.", code="invalid_type")
        given = cast("dict[str, Any]", part)
        if given.get("type") != "text":
            raise Refusal(400, f"'{where}' is not supported: parts of type 'text' alone are read.", param=where,
                          code="unsupported_parameter")  # fmt: skip
        known = {"type": FieldRule(choice("text"), required=True), "text": FieldRule(text(_MOST_TEXT), required=True)}
        parts.append(read_fields(given, known, {}, f"{where}.")["text"])
    if not parts:
        raise field_refusal(param, "expected at least one part.")
    return "".join(parts)
