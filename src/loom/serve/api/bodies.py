"""Reads the body of a request: JSON, within its limits of size, depth and time.

Layer: serve. Invariant: what comes back is an object of plain values whose texts can be written as UTF-8; whatever else
was sent is a refusal.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, NoReturn, cast

from starlette.requests import Request

from loom.serve.limits import ServerLimits
from loom.serve.refusals import Refusal

__all__ = ["parse_object", "read_object"]

_MOST_DEPTH = 64
_MANY_DIGITS = "a whole number has thousands of digits"  # what Python says of it is advice to the server


async def read_object(request: Request, limits: ServerLimits) -> dict[str, Any]:
    """Return the JSON object that a request carries; Refusal for anything else, ClientDisconnect if it went away."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refusal(
            415, "The body must be JSON: send 'Content-Type: application/json'.", code="unsupported_media_type"
        )
    if "content-encoding" in request.headers and request.headers["content-encoding"].lower() != "identity":
        raise Refusal(415, "The body must not be compressed.", code="unsupported_media_type")
    try:
        data = await asyncio.wait_for(_read(request, limits.body_bytes), limits.body_seconds)
    except (asyncio.TimeoutError, TimeoutError):
        raise Refusal(408, f"The body did not come within {limits.body_seconds:g} s.", code="timeout") from None
    return parse_object(data)


async def _read(request: Request, most: int) -> bytes:
    told = request.headers.get("content-length", "0")
    if told.isdecimal() and int(told[:20]) > most:
        raise _too_large(most)
    found = bytearray()
    async for part in request.stream():
        found += part
        if len(found) > most:
            raise _too_large(most)
    return bytes(found)


def _too_large(most: int) -> Refusal:
    return Refusal(413, f"The body is larger than {most} bytes.", code="request_too_large")


def parse_object(data: bytes) -> dict[str, Any]:
    """Return the object of a JSON text.

    >>> parse_object(b'{"n": 1}')
    {'n': 1}
    """
    try:
        text = data.decode()
        found: Any = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_no_key_twice)
    except UnicodeDecodeError as error:
        raise _not_json(f"byte {error.start} is not UTF-8") from None
    except RecursionError:
        raise _not_json(f"it is nested deeper than {_MOST_DEPTH}") from None
    except ValueError as error:
        raise _not_json(_MANY_DIGITS if "integer string" in str(error) else str(error)[:200]) from None
    if not isinstance(found, dict):
        raise _not_json("it is no object")
    _check(found)
    return cast("dict[str, Any]", found)


def _not_json(why: str) -> Refusal:
    return Refusal(400, f"The body is not usable JSON: {why}.", code="invalid_json")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice[:60]!r} is there twice")
    return found


def _check(root: Any) -> None:
    """See that nothing is nested too deep, and that no text holds half a character."""
    level = [root]
    for _ in range(_MOST_DEPTH):
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                below += value.keys()
                below += value.values()
            elif isinstance(value, list):
                below += value
            elif isinstance(value, str) and not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
                raise _not_json("a text holds half of a surrogate pair")
        level = below
        if not level:
            return
    raise _not_json(f"it is nested deeper than {_MOST_DEPTH}")
