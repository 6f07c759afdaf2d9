"""``Chat``: messages as the text that a model was taught to read, by the template that comes with it.

Layer: models. What users write is marked while the template runs wherever it looks like a control token, so that only
what the template itself writes becomes one. Invariant: without such text nothing is marked, and the text is that of
transformers' ``apply_chat_template``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from loom.core.errors import ArgumentError
from loom.core.given import is_list, is_mapping, is_scalar
from loom.core.late.dataclass import dataclass
from loom.core.optional import require
from loom.models.tokens.sandbox import Exhausted, rendering
from loom.models.tokens.templates import compile_template

__all__ = ["Chat", "Marked"]

_TAG = "CONTINUE_FINAL_MESSAGE_TAG "
_REASONING = ("reasoning_content", "thinking", "reasoning")
_MOST_DEPTH = 64


@dataclass(frozen=True, slots=True)
class Marked:
    """A chat as text, in which texts between ``marks`` are quoted."""

    text: str
    marks: tuple[str, str] | None

    @property
    def plain(self) -> bool:
        """Whether nothing is quoted."""
        return self.marks is None

    def parts(self) -> Iterator[tuple[str, bool]]:
        """Yield the parts in order, and whether each is quoted; a mark that lost its other is left out."""
        assert self.marks is not None
        begin, end = self.marks
        at = 0
        for found in re.finditer(f"{begin}([^{begin}{end}]*){end}|[{begin}{end}]", self.text):
            if found.start() > at:
                yield self.text[at : found.start()], False
            if found[1]:
                yield found[1], True
            at = found.end()
        if at < len(self.text):
            yield self.text[at:], False


def _refuse(what: str, remedy: str, **more: Any) -> ArgumentError:
    return ArgumentError("chat template", what, remedy=remedy, **more)


def _plain(value: Any, depth: int = 0) -> Any:
    """Return plain JSON data; anything else becomes its type's name, as transformers has it."""
    if depth > _MOST_DEPTH:
        raise _refuse("messages are nested too deeply", "Flatten them", expected=f"at most {_MOST_DEPTH} levels")
    if value is None or isinstance(value, (bool, float)):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if is_mapping(value):
        return {_plain(k, depth + 1): _plain(v, depth + 1) for k, v in value.items()}
    if is_list(value):
        return [_plain(each, depth + 1) for each in value]
    if is_scalar(value):
        return _plain(value.item(), depth + 1)
    if callable(getattr(value, "model_dump", None)):
        return _plain(value.model_dump(), depth + 1)
    return f"<{type(value).__name__}>"


def _mark(value: Any, control: re.Pattern[str], marks: tuple[str, str]) -> Any:
    if isinstance(value, str):
        return control.sub(lambda found: f"{marks[0]}{found[0]}{marks[1]}", value)
    if is_mapping(value):
        return {key: _mark(each, control, marks) for key, each in value.items()}
    if is_list(value):
        return [_mark(each, control, marks) for each in value]
    return value


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif is_mapping(value):
        for each in value.values():
            yield from _texts(each)
    elif is_list(value):
        for each in value:
            yield from _texts(each)


def _messages(given: Any) -> list[dict[str, Any]]:
    if not is_list(given) or not given:
        raise ArgumentError("render_chat, messages", "no messages", expected="a list of dicts with role and content",
                            got=repr(given)[:200], remedy='Write [{"role": "user", "content": ".."}]')  # fmt: skip
    found: list[dict[str, Any]] = []
    for each in given:
        plain: Any = _plain(each)
        if not is_mapping(plain) or not isinstance(plain.get("role"), str):
            raise ArgumentError(
                "render_chat, messages",
                "a message has no role",
                expected="a dict with role and content",
                got=repr(each)[:200],
                remedy='Write {"role": "user", "content": ".."}',
            )
        message: dict[str, Any] = {key: value for key, value in plain.items() if value is not None}
        reasoning: Any = next((message[key] for key in _REASONING if key in message), None)
        if reasoning is not None:
            message = {"thinking": reasoning, **message, "reasoning_content": reasoning}
        found.append(message)
    return found


class Chat:
    """Templates by name and the special tokens they write; see ``Tokenizer.render_chat``."""

    def __init__(self, templates: Mapping[str, str], named: Mapping[str, str]) -> None:
        self._templates, self._named = templates, named

    @property
    def exists(self) -> bool:
        """Whether there is a template."""
        return bool(self._templates)

    def _source(self, tools: Any) -> str:
        if tools is not None and "tool_use" in self._templates:
            return self._templates["tool_use"]
        found = self._templates.get("default")
        if found is None:
            raise _refuse("the model has none", "Write the prompt as text, for generate or /v1/completions, or put"
                          " the template of the model's authors beside it as chat_template.jinja",
                          expected="a chat template", got=", ".join(self._templates) or "none")  # fmt: skip
        return found

    def control_tokens(self, tools: Any, added: Mapping[str, bool]) -> list[str]:
        """Return the tokens that users may not write: special ones, and added ones that the template writes."""
        source = self._source(tools)
        return [token for token, special in added.items() if special or (token in source and not token.isspace())]

    def render(self, messages: Any, tools: Any, continue_final: bool, variables: Mapping[str, Any]) -> str:
        """Return the text of a chat."""
        return self._render(_messages(messages), _plain(tools), continue_final, _plain(dict(variables)))

    def mark(
        self, messages: Any, tools: Any, continue_final: bool, variables: Mapping[str, Any], control: Sequence[str]
    ) -> Marked:
        """Return the text of a chat with texts of users that look like control tokens between marks."""
        data: list[Any] = [_messages(messages), _plain(tools), _plain(dict(variables))]
        longest_first = sorted((each for each in control if each), key=len, reverse=True)
        pattern = re.compile("|".join(map(re.escape, longest_first)) or "(?!)")
        if not any(map(pattern.search, _texts(data))):
            return Marked(self._render(data[0], data[1], continue_final, data[2]), None)
        whole = self._source(tools) + "".join(_texts(data))
        free = [chr(n) for n in range(0xF0000, 0xF0000 + 1 + len(set(whole)) + 1) if chr(n) not in whole]
        marks = (free[0], free[1])
        chat, tools, extra = (_mark(each, pattern, marks) for each in data)
        return Marked(self._render(chat, tools, continue_final, extra), marks)

    def _render(self, chat: list[dict[str, Any]], tools: Any, continue_final: bool, variables: dict[str, Any]) -> str:
        source = self._source(tools)
        final = _open_last_message(chat, source) if continue_final else ""
        text = _run(
            source,
            {
                **self._named,
                **variables,
                "messages": chat,
                "tools": tools,
                "documents": variables.get("documents"),
                "add_generation_prompt": not continue_final,
            },
        )
        return _cut(text, final) if continue_final else text


def _run(source: str, variables: Mapping[str, Any]) -> str:
    require("jinja2", "loom.models.tokens")
    from jinja2.exceptions import TemplateError

    template = compile_template(source)
    try:
        with rendering():
            return "".join(template.generate(variables))
    except Exhausted as error:
        raise _refuse(
            f"it {error}", "Take the template of the model's authors, or fewer messages", expected="a text"
        ) from None
    except TemplateError as error:
        raise _refuse(
            f"it refuses these messages ({str(error)[:300]})", "Write messages as the model's authors do"
        ) from error
    except Exception as error:  # what a template computes may fail in any way
        what = f"{type(error).__name__}: {str(error)[:300]}"
        raise _refuse(f"it fails on these messages ({what})", "Write messages as the model's authors do") from error


def _open_last_message(chat: list[dict[str, Any]], source: str) -> str:
    """Mark the end of the last message; return its text."""
    last = chat[-1]
    content: Any = last.get("content")
    if "content" not in source or content is None:
        raise _refuse(
            "the last message cannot be continued", "Pass a last message with content, or continue_final=False"
        )
    if isinstance(content, str):
        chat[-1] = {**last, "content": content + _TAG}
        return content
    parts: Any = content if is_list(content) else []
    for block in reversed(parts):
        blocks: Any = block
        found: Any = block.get("text") if is_mapping(block) else None
        if isinstance(found, str):
            blocks["text"] = found + _TAG
            return found
    raise _refuse("the last message has no text to continue", "Pass a text, or continue_final=False")


def _cut(text: str, final: str) -> str:
    """Return the text up to the end of the last message."""
    at = text.rfind(_TAG.strip())
    if at < 0 or final.strip() not in text:
        raise _refuse("the template leaves parts of the last message out", "Pass continue_final=False")
    return text[:at] if text[at : at + len(_TAG)] == _TAG else text[:at].rstrip()
