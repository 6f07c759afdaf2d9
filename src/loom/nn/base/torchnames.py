"""Weights as PyTorch has them: its names and layouts to those of a network's layers.

Layer: nn. Invariant: a layer with these weights gives what the PyTorch module gives; of two biases that PyTorch adds,
Loom has the sum. Sources: the docstrings of ``torch.nn`` (Linear, Conv1d, Conv2d, RNN, LSTM, GRU, MultiheadAttention).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from loom.core.arrays import Array
from loom.core.errors import ArgumentError, DTypeError, ShapeError, near_matches
from loom.core.given import is_mapping
from loom.nn.spec import NetworkSpec, Part, Shared

__all__ = ["Names", "from_torch", "layer_from_torch", "rename"]

Names = Mapping[str, str | None] | Callable[[str], str | None] | None
"""Their name (of an array, or of a module: all names that begin with it) to ours; None leaves it out."""


def rename(arrays: Mapping[str, Any], names: Names, where: str) -> dict[str, Any]:
    """Return arrays under our names; ArgumentError if two get one, or ``names`` names what is not there."""
    found: dict[str, Any] = {}
    sources: dict[str, str] = {}
    used: set[str] = set()
    for theirs, array in arrays.items():
        ours = _rename(theirs, names, used, where)
        if ours is None:
            continue
        if ours in found:
            raise ArgumentError(where, f"two arrays become {ours!r}", expected="a name of its own for each",
                                got=f"{sources[ours]!r} and {theirs!r}", remedy="Map one of them to None")  # fmt: skip
        found[ours], sources[ours] = array, theirs
    left = [n for n in names if n not in used] if is_mapping(names) else []
    if left:
        raise ArgumentError(f"{where}, names", f"nothing is called {left[0]!r}",
                            remedy=near_matches(left[0], list(arrays)) or "Leave it out")  # fmt: skip
    return found


def _rename(theirs: str, names: Names, used: set[str], where: str) -> str | None:
    if names is None:
        return theirs
    if not is_mapping(names):
        if not callable(names) or isinstance(names, type):
            raise DTypeError(f"{where}, names", "neither a mapping nor a function", expected="their name to ours",
                             got=type(names).__name__, remedy='Pass for example {"fc1": "layers.0"}')  # fmt: skip
        ours: Any = names(theirs)
        if ours is not None and not isinstance(ours, str):
            raise DTypeError(f"{where}, names", f"what it gives for {theirs!r} is no name", expected="a text or None",
                             got=type(ours).__name__, remedy="Return our name, or None to leave it out")  # fmt: skip
        return ours
    steps = theirs.split(".")
    for length in range(len(steps), 0, -1):  # the longest that is named
        begin = ".".join(steps[:length])
        if begin in names:
            used.add(begin)
            ours = names[begin]
            return None if ours is None else ".".join([ours, *steps[length:]])
    return theirs


def from_torch(network: NetworkSpec, arrays: Mapping[str, Array], where: str) -> dict[str, Array]:
    """Return a network's weights, of PyTorch's arrays under the names of its layers (``layers.0.weight``).

    ArgumentError names a layer that lacks an array or has a strange one; ShapeError tells of gates that are none.
    """
    made: dict[str, Array] = {}
    left = dict(arrays)
    for part in network.walk():
        wanted = part.layer.own_weights(part.shape) | part.layer.own_state(part.shape)
        if isinstance(part.layer, Shared) or not wanted:
            continue
        begin = f"{part.name}."
        own = {n[len(begin) :]: left.pop(n) for n in list(left) if n.startswith(begin) and "." not in _tail(n, begin)}
        made |= {begin + name: array for name, array in layer_from_torch(part, own, where).items()}
    if left:
        strange = next(iter(left))
        raise ArgumentError(where, f"no layer takes the array {strange!r}",
                            remedy=near_matches(strange, [p.name for p in network.walk()]) + " Pass names={...}.",
                            )  # fmt: skip
    return made


def _tail(name: str, begin: str) -> str:
    """Return what is after a layer's name, where modules of PyTorch's attention and layers have no dots."""
    return name[len(begin) :].removeprefix("out_proj.")


def layer_from_torch(part: Part, own: dict[str, Array], where: str) -> dict[str, Array]:
    """Return one layer's own weights, of PyTorch's arrays by their names in the module; errors of ``from_torch``."""
    if part.layer.kind not in _LAYERS:
        return own
    takes, convert = _LAYERS[part.layer.kind]
    strange = sorted(set(own) - set(takes))
    if strange:
        raise ArgumentError(f"{where}, {part.name!r}", f"a {part.layer.kind} layer has no {strange[0]!r}",
                            remedy="Map it to None, or to another layer, with names={...}")  # fmt: skip
    try:
        return convert(own, part.layer.kind)
    except KeyError as error:
        raise ArgumentError(
            f"{where}, {part.name!r}", f"an array of this {part.layer.kind} layer is missing",
            expected=f"{part.name}.{error.args[0]}", got=", ".join(own) or "none",
            remedy="Map its module: names={their module: this layer}",
        ) from None  # fmt: skip
    except ValueError as error:
        raise ShapeError(f"{where}, {part.name!r}", f"not the weights of such a layer ({error})",
                         remedy="Check names and sizes") from None  # fmt: skip


def _linear(own: dict[str, Array], kind: str) -> dict[str, Array]:
    del kind
    return own | {"weight": own["weight"].T}


def _norm(own: dict[str, Array], kind: str) -> dict[str, Array]:
    del kind
    return {_NORM[n]: a for n, a in own.items() if n in _NORM}


def _recurrent(own: dict[str, Array], kind: str) -> dict[str, Array]:
    """Return one array per gate; PyTorch has them one below the other: i, f, g, o, or r, z, n."""
    letters = {"rnn": "h", "lstm": "ifgo", "gru": "rzn"}[kind]
    arrays = {n: own[n] for n in _STATE[:2]} | {n: own.get(n, np.zeros(len(own[_STATE[0]]))) for n in _STATE[2:]}
    w_in, w_state, b_in, b_state = (np.split(arrays[n], len(letters)) for n in _STATE)
    if kind == "rnn":
        return {"weight_ih": w_in[0], "weight_hh": w_state[0], "bias_h": _sum(b_in[0], b_state[0])}
    made: dict[str, Array] = {}
    for i, g in enumerate(letters):
        apart = kind == "gru" and g == "n"  # its second bias is within r (...), and so not added to the first
        bias = b_in[i] if apart else _sum(b_in[i], b_state[i])
        made |= {f"weight_ih_{g}": w_in[i], f"weight_hh_{g}": w_state[i], f"bias_{g}": bias}
    return made | ({"bias_hn": b_state[2]} if kind == "gru" else {})


def _sum(a: Array, b: Array) -> Array:
    return a.astype(np.float64) + b.astype(np.float64)


def _attention(own: dict[str, Array], kind: str) -> dict[str, Array]:
    del kind
    made = {f"{x}_weight": a.T for x, a in zip("qkv", np.split(own[_HEADS[0]], 3), strict=True)}
    made["o_weight"] = own[_HEADS[2]].T
    if _HEADS[1] in own:
        made |= {f"{x}_bias": a for x, a in zip("qkv", np.split(own[_HEADS[1]], 3), strict=True)}
        made["o_bias"] = own[_HEADS[3]]
    return made


_PLAIN = ("weight", "bias")
_NORM = {"weight": "gamma", "bias": "beta", "running_mean": "running_mean", "running_var": "running_variance"}
_STATE = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
_HEADS = ("in_proj_weight", "in_proj_bias", "out_proj.weight", "out_proj.bias")
_LAYERS: dict[str, tuple[tuple[str, ...], Callable[[dict[str, Array], str], dict[str, Array]]]] = {
    "dense": (_PLAIN, _linear),
    "stitch": (_PLAIN, _linear),
    "layer_norm": (_PLAIN, _norm),
    "rms_norm": (_PLAIN, _norm),
    "batch_norm": ((*_NORM, "num_batches_tracked"), _norm),
    "rnn": (_STATE, _recurrent),
    "lstm": (_STATE, _recurrent),
    "gru": (_STATE, _recurrent),
    "multi_head_attention": (_HEADS, _attention),
}
"""Type -> PyTorch's names, and what makes our arrays of them; other layers have names and layouts in common."""
