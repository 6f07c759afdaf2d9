"""What a client is told when its request is not done, in the words of OpenAI's errors.

Layer: serve. Invariant: a refusal says which field is at fault and what would do; nothing of the server's inside.
"""

from __future__ import annotations

from typing import Any

__all__ = ["Refusal", "busy", "field_refusal", "missing", "too_long"]

_KINDS = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


class Refusal(Exception):
    """A request that is not done: its status, and the body of the answer.

    Attributes: ``status`` (of HTTP), ``message``, ``param`` (the field at fault, or None), ``code``, ``retry_after``
    (seconds, or None), ``last`` (what follows on the connection is not read: it may be no request).
    """

    def __init__(
        self, status: int, message: str, *, param: str | None = None, code: str | None = None,
        retry_after: int | None = None, last: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(message)
        self.status, self.message, self.param, self.code, self.retry_after = status, message, param, code, retry_after
        self.last = last

    def body(self) -> dict[str, Any]:
        """Return the answer's body."""
        other = "server_error" if self.status >= 500 else "invalid_request_error"
        kind = _KINDS.get(self.status, other)
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}

    def headers(self) -> dict[str, str]:
        """Return the answer's headers."""
        found = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        if self.status == 401:
            found["WWW-Authenticate"] = "Bearer"
        if self.last:
            found["Connection"] = "close"
        return found


def field_refusal(param: str, what: str, *, code: str = "invalid_value") -> Refusal:
    """Return the refusal of a field's value."""
    return Refusal(400, f"Invalid '{param}': {what}", param=param, code=code)


def missing(param: str) -> Refusal:
    """Return the refusal of a request without a field that it needs."""
    return Refusal(400, f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter")


def too_long(param: str, tokens: int, most: int, asked: int = 0) -> Refusal:
    """Return the refusal of a text beyond the model's context."""
    parts = f"{tokens} in the {param}, {asked} for the completion" if asked else f"{tokens} in the {param}"
    message = f"This model's context is {most} tokens, but {tokens + asked} were asked for ({parts}). Shorten it."
    return Refusal(400, message, param=param, code="context_length_exceeded")


def busy(what: str, *, status: int = 429, retry_after: int = 1, last: bool = False) -> Refusal:
    """Return the refusal of a request that would be done later."""
    code = "rate_limit_exceeded" if status == 429 else "service_unavailable"
    return Refusal(status, what, code=code, retry_after=retry_after, last=last)
