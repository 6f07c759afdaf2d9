"""What a receipt claims of a task: its settings as plain data, and back again.

Layer: models. Invariant: the task that is read from a receipt is the one that it was written of.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from loom.core.errors import ArgumentError
from loom.models.receipts import Receipt, text_receipt
from loom.models.tasks.port import ServedModel, TextConstraint, TextTask, TokenStep

__all__ = ["plain_settings", "receipt_of", "schema_text", "task_of_receipt"]

_FLOATS = ("temperature", "top_p", "min_p", "repetition_penalty", "frequency_penalty", "presence_penalty")


def schema_text(schema: Any) -> str:
    """Return a JSON Schema as a task has it: its properties in their order, which is the one they are written in."""
    return json.dumps(schema, ensure_ascii=False, separators=(",", ":"))


def plain_settings(task: TextTask) -> dict[str, Any]:
    """Return a task's settings as a receipt has them: seeds are texts, for JSON's numbers end at 2^53."""
    found: dict[str, Any] = {**task.settings}
    found["stop"] = list(found.get("stop", ()))
    found["logit_bias"] = {str(token): bias for token, bias in found.get("logit_bias", {}).items()}
    found["seed"] = str(found.get("seed", 0))
    if task.constraint is not None:
        found["constraint"] = {"kind": task.constraint.kind, "schema": task.constraint.schema}
    return found


def receipt_of(
    model: ServedModel, task: TextTask, steps: Sequence[TokenStep], text: str, finish_reason: str,
    about: Mapping[str, Any] | None = None,
) -> Receipt:  # fmt: skip
    """Return the receipt of what a model wrote for a task."""
    return text_receipt(model.identity, task.prompt, plain_settings(task), [step.token for step in steps],
                        [step.logprob for step in steps], text, finish_reason,
                        {"model": model.name, "device": model.device, **(about or {})})  # fmt: skip


def task_of_receipt(receipt: Receipt, prompt: Sequence[int]) -> TextTask:
    """Return the task that a receipt's text was written for; ArgumentError if its settings cannot be read."""
    from loom.models.sampling import SamplingConfig

    try:
        settings = dict(receipt.claims["settings"])
        constraint = settings.pop("constraint", None)
        if unknown := settings.keys() - {each.name for each in fields(SamplingConfig)}:
            raise KeyError(f"{sorted(unknown)[0]!r:.60} is no setting")
        settings["stop"] = tuple(settings["stop"])
        settings["logit_bias"] = {int(token): float(bias) for token, bias in settings["logit_bias"].items()}
        settings |= {name: float(settings[name]) for name in _FLOATS}  # canonical JSON writes 1.0 as 1
        settings["seed"] = int(settings["seed"])
        must = None if constraint is None else TextConstraint(constraint["kind"], constraint["schema"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ArgumentError("loom.models.tasks", "a receipt's settings cannot be read", expected="those of a text",
                            got=f"{type(error).__name__} {error}"[:100],
                            remedy="Take the receipt as it was written") from None  # fmt: skip
    return TextTask(tuple(prompt), settings, must)
