"""The page that a browser gets: a chat, in one file.

Layer: serve. Invariant: the page runs its own script and no other, loads nothing from anywhere, and shows what a model
says as text.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from pathlib import Path

from starlette.responses import HTMLResponse

__all__ = ["page_response"]


@cache
def _page() -> tuple[str, str]:
    """Return the page, and the policy that lets exactly its script and its style through."""
    text = (Path(__file__).parent / "page.html").read_text(encoding="utf-8")
    found = {name: _hash_of(text, name) for name in ("script", "style")}
    policy = (
        f"default-src 'none'; script-src {found['script']}; style-src {found['style']}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    )
    return text, policy


def _hash_of(page: str, element: str) -> str:
    (inner,) = re.findall(rf"<{element}>(.*?)</{element}>", page, re.DOTALL)
    return f"'sha256-{base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()}'"


def page_response() -> HTMLResponse:
    """Return the page with its headers."""
    text, policy = _page()
    return HTMLResponse(text, headers={"Content-Security-Policy": policy, "X-Frame-Options": "DENY"})
