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

_IS = "It is network.{}"
_WEIGHTS, _LOAD, _DEVICES = _IS.format("weights()"), _IS.format("load_weights(weights)"), _IS.format("to(device)")
_BATCH = "It is network.train(x, y, epochs=1), which begins the optimiser anew"
_SLOPES = (
    "network.train(x, y) computes gradients itself; of an expression of your own loom.tensor.grad(loss, weights) does"
)
_NO_SWITCH = "There is nothing to switch: network.train(x, y) alone trains, network.predict(x) never does"
_DOCUMENT = "Layers are those of the document: network.spec has it, loom.Network.from_json(document) makes another"

METHODS = {
    "fit": _IS.format("train(x, y)"),
    "compile": "Nothing is to be compiled: network.train(x, y, loss=..., optimizer=...)",
    "__call__": _IS.format("forward(x)"),
    "summary": "It is print(network.blueprint())",
    **dict.fromkeys(("parameters", "named_parameters", "state_dict", "get_weights"), _WEIGHTS),
    **dict.fromkeys(("load_state_dict", "set_weights"), _LOAD),
    **dict.fromkeys(("cuda", "cpu"), _DEVICES),
    "requires_grad_": _IS.format("freeze(layers)"),
    **dict.fromkeys(("score", "test"), _IS.format("evaluate(x, y)")),
    "eval": f"{_NO_SWITCH}. How good it is tells network.evaluate(x, y)",
    "predict_proba": "network.predict(x) gives what the last layer gives: probabilities of softmax or sigmoid "
    "(network.gives_probabilities), of dense logits, of which loom.tensor.softmax(loom.tensor.array(logits), -1) "
    "makes probabilities",
    "predict_classes": "It is network.predict(x).argmax(-1)",
    "to_json": "The document is loom.nn.spec.to_json(network.spec); with weights it is network.save()",
    **dict.fromkeys(("partial_fit", "train_step", "train_on_batch", "train_batch"), _BATCH),
    "fit_generator": "Samples are arrays, and no streams: network.train(x, y); numpy.memmap reads what is larger than "
    "memory",
    **dict.fromkeys(("backward", "zero_grad", "grad"), _SLOPES),
    **dict.fromkeys(("add", "add_module", "append", "layers", "modules", "children"), _DOCUMENT),
    "history": "It is what training returns: history = network.train(x, y)",
    **dict.fromkeys(("plot", "plot_model"), "It is network.diagram(), the text of an SVG"),
    **dict.fromkeys(
        ("get_params", "get_config", "config"), "It is network.spec; network.weights() has what is learned"
    ),
    "set_params": _DOCUMENT,
}
"""A method elsewhere -> what to do here."""


def name_here(name: str) -> str:
    """Return what to do in place of a setting of another library; nothing if it is none."""
    return SETTINGS.get(name, "")


def of_network(name: str, known: Sequence[str]) -> str:
    """Return the message for an attribute that a network has not."""
    if name.startswith("_"):
        return f"loom.Network has no attribute {name!r}"
    return f"loom.Network has no attribute {name!r}. {METHODS.get(name) or near_matches(name, known)}"
