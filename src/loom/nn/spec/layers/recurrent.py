"""``rnn``, ``lstm`` and ``gru``: one state, carried from token to token, zero at first.

Layer: nn. Invariant: weights from the input are (hidden, in), from the state (hidden, hidden), one array per gate.
"""

from __future__ import annotations

import enum
from typing import ClassVar

from loom.core.late.dataclass import dataclass
from loom.nn.spec.base.fields import choice, size
from loom.nn.spec.base.layer import Layer, Shape, register
from loom.nn.spec.base.problems import Place
from loom.nn.spec.base.shapes import agrees, has_rank

__all__ = ["GRU", "LSTM", "RNN", "States"]


class States(enum.Enum):
    """Which states are the output."""

    SEQUENCE = "sequence"
    """all: (tokens, hidden)"""
    LAST = "last"
    """that after the last token: (hidden,)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Recurrent(Layer):
    hidden_size: int = size("the number of features of the state")
    input_size: int | None = size("the number of input features, if it is to be checked", None)
    output: States = choice(States, "which states are the output", States.SEQUENCE)

    def infer(self, shape: Shape, place: Place) -> Shape | None:
        if not has_rank(shape, place, 2):
            return None
        agrees(self.input_size, shape[1], "input_size", place, "input features")
        return (shape[0], self.hidden_size) if self.output is States.SEQUENCE else (self.hidden_size,)

    def _gates(self, inputs: int, letters: str) -> dict[str, Shape]:
        hidden = self.hidden_size
        return {
            **{f"weight_ih_{g}": (hidden, inputs) for g in letters},
            **{f"weight_hh_{g}": (hidden, hidden) for g in letters},
            **{f"bias_{g}": (hidden,) for g in letters},
        }


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class RNN(_Recurrent):
    """Elman network: ``h = tanh(b + W_ih x + W_hh h)``, (tokens, in) to (tokens, hidden).

    Weights: ``weight_ih`` (hidden, in), ``weight_hh`` (hidden, hidden), ``bias_h`` (hidden,).
    """

    kind: ClassVar[str] = "rnn"

    def own_weights(self, shape: Shape) -> dict[str, Shape]:
        hidden = self.hidden_size
        return {"weight_ih": (hidden, shape[1]), "weight_hh": (hidden, hidden), "bias_h": (hidden,)}


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class LSTM(_Recurrent):
    """Long short-term memory, (tokens, in) to (tokens, hidden).

    i, f, o are sigmoids and g a tanh of ``b + W_ih x + W_hh h``; ``c = f c + i g``; ``h = o tanh(c)``. Weights for
    each gate of i, f, g, o: ``weight_ih_g`` (hidden, in), ``weight_hh_g`` (hidden, hidden), ``bias_g`` (hidden,).
    """

    kind: ClassVar[str] = "lstm"

    def own_weights(self, shape: Shape) -> dict[str, Shape]:
        return self._gates(shape[1], "ifgo")


@register
@dataclass(frozen=True, slots=True, kw_only=True)
class GRU(_Recurrent):
    """Gated recurrent unit, (tokens, in) to (tokens, hidden).

    r, z are sigmoids of ``b + W_ih x + W_hh h``; ``n = tanh(b_n + W_ih_n x + r (W_hh_n h + b_hn))``; ``h = (1 - z) n
    + z h``. Weights for each of r, z, n as in lstm, and ``bias_hn`` (hidden,).
    """

    kind: ClassVar[str] = "gru"

    def own_weights(self, shape: Shape) -> dict[str, Shape]:
        return {**self._gates(shape[1], "rzn"), "bias_hn": (self.hidden_size,)}
