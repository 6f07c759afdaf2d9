"""What type of layer arrays of weights belong to, by their names and shapes.

Layer: nn. Invariant: a guess says why, and how sure it is; what nothing fits is no guess. Source of the rules by shape:
section 13 of the formats that Loom reads (one axis: a norm; two: dense, or an embedding of many more rows than
columns; three: conv1d; four: conv2d).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any

from loom.core.arrays import Array
from loom.core.late.dataclass import dataclass

__all__ = ["Guess", "ModuleArrays", "group_by_module", "guess_of", "in_order"]

Own = dict[str, Array]


@dataclass(frozen=True, slots=True)
class ModuleArrays:
    """Arrays of one module: ``prefix`` is its name in the file ("" for names without a dot)."""

    prefix: str
    own: Own


@dataclass(frozen=True, slots=True)
class Guess:
    """A layer that arrays may be of: its object, features in and out, and the layout of the arrays.

    ``needs``: what must be told besides (``num_heads``); ``assumed``: what is taken for granted.
    """

    value: dict[str, Any]
    takes: int | None
    gives: int | None
    confidence: float
    reason: str
    layout: str = "torch"
    needs: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()
    weights: Own = field(default_factory=dict[str, Array])


def group_by_module(arrays: Mapping[str, Array]) -> list[ModuleArrays]:
    """Return arrays by module, in the order of the numbers and letters of its name."""
    found: dict[str, Own] = {}
    for name, array in arrays.items():
        prefix, _, leaf = name.rpartition(".")
        part = re.fullmatch(r"(weight|bias)_(ih|hh)_l(\d+)", leaf)
        if part is not None:  # PyTorch has the layers of a stack in one module
            prefix, leaf = f"{prefix}#{part[3]}", f"{part[1]}_{part[2]}_l0"
        owner, _, last = prefix.rpartition(".")
        outer = f"{owner}.in_proj_weight" if owner else "in_proj_weight"
        if last == "out_proj" and outer in arrays:  # PyTorch has it as a module of the attention
            prefix, leaf = owner, f"out_proj.{leaf}"
        found.setdefault(prefix, {})[leaf] = array
    return [ModuleArrays(prefix, found[prefix]) for prefix in sorted(found, key=in_order)]


def in_order(name: str) -> list[Any]:
    """Return what names are sorted by: numbers in them as numbers."""
    return [(1, int(p), "") if p.isdigit() else (0, 0, p) for p in re.split(r"(\d+)", name) if p]


def guess_of(group: ModuleArrays, layout: str, is_first: bool) -> Guess | None:
    """Return the layer that a group's arrays are of, read in a layout ("torch" or "loom"); None if none fits."""
    own = {n: a for n, a in group.own.items() if n != "num_batches_tracked"}
    names = set(own)
    for wanted, optional, guess in _RULES:
        if wanted <= names <= wanted | optional:
            return guess(own)
    if names in ({"weight"}, {"weight", "bias"}):
        return _by_shape(group.prefix, own, layout, is_first)
    return None


def _by_shape(prefix: str, own: Own, layout: str, is_first: bool) -> Guess | None:
    weight, bias = own["weight"], own.get("bias")
    if weight.ndim == 1:
        return _norm(own)
    if weight.ndim == 2:
        return _matrix(prefix, own, layout, is_first)
    if weight.ndim not in (3, 4) or (bias is not None and bias.shape != weight.shape[:1]):
        return None
    kernel = weight.shape[2:]
    value: dict[str, Any] = {"type": f"conv{weight.ndim - 2}d", "filters": weight.shape[0],
                             "kernel_size": kernel[0] if weight.ndim == 3 else list(kernel)}  # fmt: skip
    value |= {} if bias is not None else {"bias": False}
    reason = f"a weight of {weight.ndim} axes (filters, channels, kernel)"
    return Guess(value, weight.shape[1], weight.shape[0], 0.95, reason, assumed=("stride 1",))


def _matrix(prefix: str, own: Own, layout: str, is_first: bool) -> Guess | None:
    rows, cols = (int(n) for n in own["weight"].shape)
    said = re.search(r"emb|wte|vocab", prefix.lower()) is not None
    if "bias" not in own and (said or (is_first and rows > 4 * cols)):
        reason = "its name says an embedding" if said else f"the first matrix has many rows ({rows}) and no bias"
        return Guess({"type": "embedding", "vocab_size": rows, "embedding_dim": cols}, None, cols,
                     0.95 if said else 0.6, reason)  # fmt: skip
    given, made = (cols, rows) if layout == "torch" else (rows, cols)
    bias = own.get("bias")
    if bias is not None and bias.shape != (made,):
        return None
    value = {"type": "dense", "output_size": made, **({} if bias is not None else {"bias": False})}
    return Guess(value, given, made, 0.9, f"a matrix of {given} by {made}", layout)


def _norm(own: Own) -> Guess | None:
    size = int(own["weight"].shape[0])
    if "bias" in own and own["bias"].shape != (size,):
        return None
    kind = "layer_norm" if "bias" in own else "rms_norm"
    reason = "a vector " + ("with a bias" if "bias" in own else "without a bias")
    return Guess({"type": kind}, size, size, 0.85, reason, assumed=("epsilon 1e-5",))


def _batch_norm(own: Own) -> Guess:
    size, names = len(own["running_mean"]), "gamma" in own
    return Guess({"type": "batch_norm"}, size, size, 0.99, "running means and variances",
                 "loom" if names else "torch", assumed=("epsilon 1e-5",))  # fmt: skip


def _own_norm(own: Own) -> Guess:
    size, kind = len(own["gamma"]), "layer_norm" if "beta" in own else "rms_norm"
    return Guess({"type": kind}, size, size, 0.95, "arrays called " + " and ".join(sorted(own)), "loom",
                 assumed=("epsilon 1e-5",))  # fmt: skip


def _torch_recurrent(own: Own) -> Guess | None:
    rows, hidden = own["weight_hh_l0"].shape
    kind = {1: "rnn", 3: "gru", 4: "lstm"}.get(rows // hidden if rows % hidden == 0 else 0)
    if kind is None or own["weight_ih_l0"].shape[0] != rows:
        return None
    reason = f"{rows // hidden} times {hidden} rows of a state of {hidden}"
    return Guess({"type": kind, "hidden_size": hidden}, own["weight_ih_l0"].shape[1], hidden, 0.97, reason,
                 assumed=("all states are the output",))  # fmt: skip


def _own_recurrent(kind: str, first: str) -> Callable[[Own], Guess | None]:
    def guess(own: Own) -> Guess | None:
        hidden, width = own[first].shape
        return Guess({"type": kind, "hidden_size": hidden}, width, hidden, 0.97, f"arrays of the gates of {kind}",
                     "loom", assumed=("all states are the output",))  # fmt: skip

    return guess


def _torch_attention(own: Own) -> Guess | None:
    width = own["in_proj_weight"].shape[1]
    if own["in_proj_weight"].shape[0] != 3 * width:
        return None
    bias = {} if "in_proj_bias" in own else {"bias": False}
    return Guess({"type": "multi_head_attention", **bias}, width, width, 0.97, "in_proj and out_proj",
                 needs=("num_heads",), assumed=("every token sees every other",))  # fmt: skip


def _own_attention(own: Own) -> Guess | None:
    width = own["q_weight"].shape[0]
    if own["q_weight"].shape[1] != own["o_weight"].shape[0]:
        return None
    value = {"type": "multi_head_attention", **({} if "q_bias" in own else {"bias": False})}
    return Guess(value, width, width, 0.97, "query, key, value and output weights", "loom", ("num_heads",),
                 ("every token sees every other",))  # fmt: skip


def _swiglu(own: Own) -> Guess | None:
    width, inner = own["gate_weight"].shape
    value = {"type": "swiglu", "inner_size": inner, **({} if "gate_bias" in own else {"bias": False})}
    return Guess(value, width, width, 0.97, "gate, up and down weights", "loom")


def _scale(own: Own) -> Guess | None:
    shape = own["shift"].shape
    size = int(shape[0]) if len(shape) == 1 else None
    return Guess({"type": "scale"}, size, size, 0.97, "shift and factor", "loom") if size is not None else None


def _names(text: str) -> set[str]:
    return set(text.split())


_GATES = {"lstm": "ifgo", "gru": "rzn"}
_RULES: list[tuple[set[str], set[str], Callable[[Own], Guess | None]]] = [
    (_names("weight_ih_l0 weight_hh_l0"), _names("bias_ih_l0 bias_hh_l0"), _torch_recurrent),
    (_names("weight_ih weight_hh bias_h"), set(), _own_recurrent("rnn", "weight_ih")),
    *(
        (
            {f"{w}_{g}" for w in ("weight_ih", "weight_hh", "bias") for g in gates}
            | ({"bias_hn"} if kind == "gru" else set()),
            set(), _own_recurrent(kind, f"weight_ih_{gates[0]}"),
        )
        for kind, gates in _GATES.items()
    ),
    (_names("in_proj_weight out_proj.weight"), _names("in_proj_bias out_proj.bias"), _torch_attention),
    (_names("q_weight k_weight v_weight o_weight"), _names("q_bias k_bias v_bias o_bias"), _own_attention),
    (_names("gate_weight up_weight down_weight"), _names("gate_bias up_bias down_bias"), _swiglu),
    (_names("weight bias running_mean running_var"), set(), _batch_norm),
    (_names("gamma beta running_mean running_variance"), set(), _batch_norm),
    (_names("gamma"), _names("beta"), _own_norm),
    (_names("shift factor"), set(), _scale),
]  # fmt: skip
"""Names that must be there, those that may, and what is made of them."""
