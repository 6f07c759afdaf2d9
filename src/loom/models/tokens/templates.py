"""Chat templates compiled: what is no template, and a package that is not there, are told here.

Layer: models, over the package jinja2 (extra ``models``). Invariant: a template is compiled once, and by the sandbox.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from loom.core.errors import ArgumentError, DeviceError
from loom.core.optional import load, require
from loom.models.tokens.sandbox import Exhausted, rendering

__all__ = ["compile_template"]

MOST_SOURCE = 1 << 20
"""Characters of a template."""


def _jinja() -> Any:
    jinja2: Any = load("jinja2", "loom.models.tokens")
    version = tuple(int(part) for part in jinja2.__version__.split(".")[:3] if part.isdigit())
    if version < (3, 1, 6):
        raise DeviceError(
            "loom.models.tokens",
            "this jinja2 has known ways out of its sandbox",
            expected="3.1.6 or newer",
            got=jinja2.__version__,
            remedy="Run pip install -U jinja2",
        )
    return jinja2


@lru_cache(1)
def _environment() -> Any:
    _jinja()
    require("jinja2", "loom.models.tokens")
    from loom.models.tokens.environment import environment

    return environment()


@lru_cache(64)
def compile_template(source: str) -> Any:
    """Return a template; ArgumentError if it is none, or too long."""
    if len(source) > MOST_SOURCE:
        raise ArgumentError("chat template", "too long", expected=f"at most {MOST_SOURCE} characters", got=len(source),
                            remedy="Take the template of the model's own folder")  # fmt: skip
    try:
        with rendering():
            return _environment().from_string(source)
    except (Exhausted, RecursionError, MemoryError, SyntaxError, ValueError) as error:
        raise ArgumentError(
            "chat template", f"not usable ({str(error)[:200]})", expected="a template", remedy="Take another"
        ) from error
    except _jinja().exceptions.TemplateError as error:
        raise ArgumentError("chat template", f"not Jinja ({str(error)[:300]})", expected="a template",
                            remedy="Fetch tokenizer_config.json again") from error  # fmt: skip
