"""What other libraries call a network's methods and the settings of a training.

Layer: nn. Invariant: what is named here exists (tested).
"""

from __future__ import annotations

from collections.abc import Sequence

from loom.core.errors import near_matches

__all__ = ["METHODS", "SETTINGS", "name_here", "of_network"]

_OPTIMIZER = "It is the optimiser's: optimizer=loom.nn.train.{}"
_DEVICE = "Name it when the network is made: Network.from_json(document, on=...)"

SETTINGS = {
    "lr": "It is learning_rate", "rate": "It is learning_rate", "n_epochs": "It is epochs", "max_iter": "It is epochs",
    "num_epochs": "It is epochs", "validation_data": "It is validation=(x, y)",
    "validation_split": "Divide the samples first and pass validation=(x, y)", "val": "It is validation=(x, y)",
    "verbose": "It is progress=True or False", "callbacks": "See patience, checkpoint and progress",
    "metrics": "evaluate(x, y) has them, of validation=(x, y) the history", "device": _DEVICE, "on": _DEVICE,
    "weight_decay": _OPTIMIZER.format("AdamW(weight_decay=...)"), "momentum": _OPTIMIZER.format("SGD(momentum=...)"),
    "nesterov": _OPTIMIZER.format("SGD(momentum=..., nesterov=True)"), "max_norm": "It is clip_norm",
    "betas": _OPTIMIZER.format("Adam(beta1=..., beta2=...)"), "scheduler": "It is schedule", "criterion": "It is loss",
    "random_state": "It is seed", "early_stopping": "It is patience", "batch": "It is batch_size",
}  # fmt: skip
"""A setting elsewhere -> what to do here."""

METHODS = {
    "fit": "train", "compile": "train", "__call__": "forward", "summary": "spec", "parameters": "weights",
    "state_dict": "weights", "get_weights": "weights", "load_state_dict": "load_weights", "set_weights": "load_weights",
    "cuda": "to", "cpu": "to", "requires_grad_": "freeze",
    "score": "evaluate", "eval": "evaluate", "test": "evaluate",
    "predict_proba": "predict", "to_json": "save",
}  # fmt: skip
"""A method elsewhere -> the name here."""


def name_here(name: str) -> str:
    """Return what to do in place of a setting of another library; nothing if it is none."""
    return SETTINGS.get(name, "")


def of_network(name: str, known: Sequence[str]) -> str:
    """Return the message for an attribute that a network has not."""
    if name.startswith("_"):
        return f"loom.Network has no attribute {name!r}"
    hint = f"It is {METHODS[name]}" if name in METHODS else near_matches(name, known)
    return f"loom.Network has no attribute {name!r}. {hint}"
