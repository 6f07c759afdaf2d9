"""The recorded passes over tokens: one program for a number of rows, whatever sequences and positions they are.

Layer: models. A row is one token of one sequence; what a pass is told of it (token, sequence, position, pages) are
numbers that it is fed, so that no length is ever compiled. Invariant: rows do not see each other but through the pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from loom import tensor
from loom.core.dtype import f32
from loom.core.late.dataclass import dataclass
from loom.kernels.attention.cached import PAGE
from loom.models.inference.cache import PageStore, PassCache, device_parameter
from loom.models.inference.requirements import CausalNetwork
from loom.nn.layers import Context
from loom.nn.spec import NodeSpec
from loom.nn.spec.layers.embedding import Unembedding
from loom.nn.weights.model import Model
from loom.schedules.attention.cached import few_sequences
from loom.tensor import Tensor, TensorProgram

__all__ = ["PassPrograms", "Shown", "round_rows", "round_shown"]


@dataclass(frozen=True, slots=True)
class Shown:
    """What a pass says of the rows that were asked for: ``tokens``, the likeliest of each, the lowest of equal ones;
    ``logprobs``, the logarithm of its chance; ``logits``, where they were wanted."""

    tokens: np.ndarray[Any, Any]
    logprobs: np.ndarray[Any, Any]
    logits: np.ndarray[Any, Any] | None = None


def round_rows(count: int) -> int:
    """Return the rows of the program that takes ``count``: the next power of two."""
    return 1 << max(0, count - 1).bit_length()


def round_shown(count: int, tokens: int) -> int:
    """Return the rows that the program over ``tokens`` shows for ``count``: none, one, eight times as many .., all."""
    found = 1
    while found < count:
        found *= 8
    return min(found, round_rows(tokens)) if count else 0


class PassPrograms:
    """Programs over ``rows`` tokens that show the logits of ``shown`` of them, made when first asked for.

    ``width``: pages of a sequence at most; ``most_sequences``: of one pass.
    """

    def __init__(self, model: Model, network: CausalNetwork, store: PageStore, width: int, most_sequences: int) -> None:
        self.model = model
        self.network = network
        self.store = store
        self.width = width
        self.most_sequences = most_sequences
        self._made: dict[tuple[int, int, int], TensorProgram] = {}
        self._turned = self._make_turned()
        self._logits: dict[int, Tensor] = {}

    @property
    def count(self) -> int:
        """Programs made so far."""
        return len(self._made)

    def run(self, tokens: Any, places: Any, tables: Sequence[Any], shown: Any, *, with_logits: bool = False) -> Shown:
        """Compute a pass over tokens (n,), places (n, 2), the pages of each sequence, and show rows ``shown`` (m,)."""
        rows, count = round_rows(len(tokens)), round_shown(len(shown), len(tokens))
        program = self.program(rows, count, len(tables))
        feeds: dict[str, Any] = {
            "tokens": _fill_rows(tokens, rows, np.int32), "places": _fill_rows(places, rows, np.uint32),
            "tables": self._table(tables, program.inputs["tables"].shape[0]),
        }  # fmt: skip
        if count:
            feeds["shown"] = _fill_rows(shown, count, np.int32)
        program.run(**feeds)
        if not count:
            return Shown(np.empty(0, np.int32), np.empty(0, np.float32))
        best, chances = program.read()
        logits = self.logits(count).host_elements()[0][: len(shown)] if with_logits else None
        return Shown(best[: len(shown)], chances[: len(shown)], logits)

    def _table(self, tables: Sequence[Any], sequences: int) -> np.ndarray[Any, Any]:
        found = np.zeros((sequences, self.width), np.uint32)
        for n, pages in enumerate(tables):
            found[n, : len(pages)] = pages
        return found

    def sequences(self, rows: int, count: int = 1) -> int:
        """Return how many sequences a pass over so many rows knows that has ``count``: few, or as many as there are."""
        most, few = min(rows, round_rows(self.most_sequences)), few_sequences(rows)
        return min(most, few) if count <= few else most

    def logits(self, count: int) -> Tensor:
        """Return where passes that show ``count`` rows leave their logits, (count, vocabulary): a parameter."""
        if count not in self._logits:
            zeros = np.zeros((count, self.network.vocabulary_size), np.float32)
            self._logits[count] = tensor.parameter(zeros, "f32", name=f"logits.{count}", on=self.model.device)
        return self._logits[count]

    def program(self, rows: int, count: int, sequences: int = 1) -> TensorProgram:
        """Return the program over ``rows`` rows of ``sequences`` that shows ``count`` of them."""
        key = rows, count, self.sequences(rows, sequences)
        if key not in self._made:
            self._made[key] = self._compile(*key)
        return self._made[key]

    def free(self) -> None:
        """Give up all programs and their memory."""
        for program in self._made.values():
            program.free()
        self._made.clear()
        self._logits.clear()

    def _make_turned(self) -> dict[str, Tensor]:
        """Return memory for the transposed tables of heads that are tied to an embedding."""
        found: dict[str, Tensor] = {}
        for part in self.model.network.walk():
            name = f"{part.layer.table}.weight" if isinstance(part.layer, Unembedding) else ""
            if name and isinstance(self.model.parameters[name], Tensor):  # those kept quantised lie well as they are
                found[name] = device_parameter(
                    f"{name}.turned", self.model.parameters[name].shape[::-1], f32, self.model.device
                )
        return found

    def renew(self) -> None:
        """Copy what is kept of weights again, which have changed."""
        if self._turned:
            pairs = [(copy, tensor.transpose(self.model.parameters[name])) for name, copy in self._turned.items()]
            program = tensor.compile([], pairs, on=self.model.device, name="transposed tables")
            program.run()
            program.free()

    def _compile(self, rows: int, count: int, sequences: int) -> TensorProgram:
        tokens = tensor.input("tokens", (rows,), "i32")
        places = tensor.input("places", (rows, 2), "u32")
        tables = tensor.input("tables", (sequences, self.width), "u32")
        shown = tensor.input("shown", (count,), "i32") if count else None
        logits = self.record(tokens, places, tables, shown)
        name = f"pass over {rows} tokens"
        if shown is None:
            return tensor.compile([logits], on=self.model.device, name=name)
        most = logits.max(-1, keepdims=True)
        chance = -((logits - most).map("exp").sum(-1).map("log"))
        kept = self.logits(count)
        return tensor.compile([tensor.argmax(logits, -1).astype("i32"), chance], [(kept, logits)],
                              on=self.model.device, name=name)  # fmt: skip

    def record(self, tokens: Tensor, places: Tensor, tables: Tensor, shown: Tensor | None) -> Tensor:
        """Record the network on rows, those ``shown`` only from the last attention on; return (count, vocabulary).

        Without ``shown``, what the last attention's node gives is returned, a number of each row.
        """
        model, rows = self.model, tokens.shape[0]
        spec = model.network
        source = spec.inputs[0]
        positions = tensor.maximum(places[:, 1].astype("i32") - 1, 0)
        made: dict[str, Tensor] = {source.name: tensor.reshape(tokens.astype(source.dtype), (rows, 1))}
        record = model.begin_pass(made, training=False, step=None)
        record.cache, record.context = PassCache(self.store, places, tables), self.width * PAGE
        places_of = tensor.reshape(positions, (rows, 1))
        record.positions, record.turned = places_of, self._turned
        last = self.network.last + 1

        def run(nodes: Sequence[NodeSpec]) -> None:
            for node in nodes:
                given = [made[name] for name in node.inputs]
                found = Context(node.name, record).run(node.layer, given if node.layer.takes_many else given[0])
                made[node.name] = found

        run(spec.nodes[:last])
        if shown is None:
            return next(reversed(made.values()))[:, 0, 0]
        made |= {name: tensor.gather(x, shown) for name, x in made.items()}
        record.positions = tensor.gather(places_of, shown)
        run(spec.nodes[last:])
        return tensor.reshape(made[spec.outputs[0]], (shown.shape[0], self.network.vocabulary_size))


def _fill_rows(values: Any, rows: int, dtype: Any) -> np.ndarray[Any, Any]:
    given = np.asarray(values, dtype)
    found = np.zeros((rows, *given.shape[1:]), dtype)
    found[: len(given)] = given
    return found
