"""How far a training is, as .safetensors files tell it to programs that read no JSON: what exports of C go on from.

Layer: nn. Invariant: the facts of a snapshot that count for going on are all there, or the file tells no progress.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from hashlib import sha256

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


def progress_of(facts: Mapping[str, object]) -> Array | None:
    """Return the words of a snapshot's facts, None of facts that are not those of ``Trainer``."""
    config, history, best = facts.get("config"), facts.get("history"), facts.get("best")
    told = (facts.get(name) for name in ("epoch", "at", "stale", "samples"))
    counts = [n for n in told if isinstance(n, int)]
    if not is_mapping(config) or not is_mapping(history) or len(counts) < 4:
        return None
    epoch, at, stale, samples = counts
    try:
        batches = -(-samples // int(config["batch_size"]))
        updates = epoch * -(-batches // int(config["accumulate"]))
    except (KeyError, ValueError, ZeroDivisionError):
        return None
    found = np.array([epoch, updates, stale, bool(history.get("stopped")), 0, at], np.uint64)
    found[4:5] = np.array([best if isinstance(best, float) else math.inf]).view(np.uint64)
    return found


def facts_of(told: Mapping[str, object], words: Array, arrays: Mapping[str, Array]) -> dict[str, object]:
    """Return the facts of a snapshot whose file tells settings alone, and these words; the history begins anew."""
    epoch, _, stale, is_over, _, at = (int(n) for n in words)
    best, config = float(words[4:5].view(np.float64)[0]), told.get("config")
    is_watched = epoch and is_mapping(config) and config.get("patience") != "None" and not math.isinf(best)
    skipped = arrays.get("state/skipped_steps")
    history: dict[str, object] = {name: [] for name in ("loss", "validation_loss", "validation_accuracy", "rate")}
    history["stopped"] = f"no gain for {stale} epochs" if is_over else ""
    history["skipped"] = [int(skipped)] if epoch and skipped is not None else []
    progress = {"epoch": epoch, "at": at, "total": 0.0, "best": best if is_watched else None, "stale": stale}
    return {**told, **progress, "history": history}
