"""How far a training is, as .safetensors files tell it to programs that read no JSON: what exports of C go on from.

Layer: nn. Invariant: the facts of a snapshot that count for going on are all there, or the file tells no progress.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import numpy as np

from loom.core.arrays import Array
from loom.core.given import is_mapping

__all__ = ["PROGRESS", "PROGRESS_NUMBERS", "SETTINGS_KEY", "facts_of", "progress_of", "settings_digest"]

SETTINGS_KEY = "loom.settings"
"""Metadata: the digest of the settings and the number of samples that a training which goes on must have in common."""
PROGRESS = "progress"
PROGRESS_NUMBERS = 6
"""Words (u64): epochs, updates, epochs since the best, whether it is over, the best loss, batches of this epoch."""


def settings_digest(config: Mapping[str, str], samples: int) -> str:
    """Return what tells a training's settings and number of samples from others."""
    return sha256(json.dumps([dict(config), samples], sort_keys=True).encode()).hexdigest()


def progress_of(facts: Mapping[str, Any]) -> Array | None:
    """Return the words of a snapshot's facts, None of facts that are not those of ``Trainer``."""
    config, history = facts.get("config"), facts.get("history")
    if not is_mapping(config) or not is_mapping(history):
        return None
    try:
        size, accumulate = int(config["batch_size"]), int(config["accumulate"])
        epoch, at, stale = int(facts["epoch"]), int(facts["at"]), int(facts["stale"])
        batches = -(-int(facts["samples"]) // size)
        updates = epoch * -(-batches // accumulate)
    except (KeyError, TypeError, ValueError):
        return None
    found = np.array([epoch, updates, stale, bool(history.get("stopped")), 0, at], np.uint64)
    best = facts.get("best")
    found[4:5] = np.array([math.inf if best is None else float(best)]).view(np.uint64)
    return found


def facts_of(told: Mapping[str, Any], words: Array, arrays: Mapping[str, Array]) -> dict[str, Any]:
    """Return the facts of a snapshot whose file tells settings alone, and these words; the history begins anew."""
    epoch, _, stale, is_over, _, at = (int(n) for n in words)
    skipped = arrays.get("state/skipped_steps")
    history: dict[str, Any] = {name: [] for name in ("loss", "validation_loss", "validation_accuracy", "rate")}
    history["stopped"] = f"no gain for {stale} epochs" if is_over else ""
    history["skipped"] = [int(skipped)] if epoch and skipped is not None else []
    best = float(words[4:5].view(np.float64)[0])
    is_watched = bool(epoch) and told["config"].get("patience") != "None" and not math.isinf(best)
    return {**told, "epoch": epoch, "at": at, "total": 0.0, "best": best if is_watched else None,
            "stale": stale, "history": history}  # fmt: skip
