"""One update recorded: the pass (or tick), signals or targets handed down, budgets, and what moves.

Layer: nn. Nodes are met from the outputs to the inputs, so graphs are served as chains are: what several consumers ask
of a node is summed (signals) or averaged (targets). Invariant: an update whose loss is not finite changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from functools import reduce

from loom import tensor
from loom.core.dtype import DType, f32
from loom.core.late.dataclass import dataclass
from loom.nn.layers import Context
from loom.nn.spec import Layer, NodeSpec, Shared
from loom.nn.tween.config import TweenConfig
from loom.nn.tween.link import Handed, Link, Move, cut, finite, wide
from loom.nn.tween.modes import TweenMode
from loom.nn.tween.rules import chain, gap
from loom.nn.tween.slopes import clamp_target, ending
from loom.nn.weights.model import Model
from loom.tensor import Tensor

__all__ = [
    "Pairs", "Pass", "TweenUpdate", "layers_above", "loss_or_nan", "number_type", "output_gap", "record_pass",
    "record_update", "update_if_finite",
]  # fmt: skip

Pairs = list[tuple[Tensor, Tensor]]


@dataclass(slots=True)
class Pass:
    """A pass or tick: ``sources`` of each node, cut off from what made them, its output in ``made``, and updates."""

    sources: dict[str, tuple[Tensor, ...]]
    made: dict[str, Tensor]
    updates: Pairs


@dataclass(slots=True)
class TweenUpdate:
    """An update: ``loss`` (the squared gap summed over outputs, the mean over samples), ``updates``, and by node the
    link ``budgets`` and ``gaps`` of each sample, and the ``targets``, where they are asked for."""

    loss: Tensor
    updates: Pairs = field(default_factory=list[tuple[Tensor, Tensor]])
    budgets: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    gaps: dict[str, Tensor] = field(default_factory=dict[str, Tensor])
    targets: dict[str, Tensor] = field(default_factory=dict[str, Tensor])


def record_pass(
    model: Model, inputs: Mapping[str, Tensor], *, buffers: Mapping[str, Tensor] | None = None,
    bypassed: frozenset[str] = frozenset(), training: bool = True, step: Tensor | None = None,
) -> Pass:  # fmt: skip
    """Record a forward pass, or with ``buffers`` (by node) a tick, in which every node reads those of the tick before.

    ``bypassed`` nodes hand their input on.
    """
    record = model.begin_pass(inputs, training=training, step=step)
    here: dict[str, Tensor] = dict(inputs)
    lagging: dict[str, Tensor] = {**(buffers or {}), **inputs}
    sources: dict[str, tuple[Tensor, ...]] = {}
    made: dict[str, Tensor] = {}
    for node in model.network.nodes:
        given = tuple(tensor.detach(here[n]) if buffers is None else lagging[n] for n in node.inputs)
        sources[node.name] = given
        if node.name in bypassed:
            made[node.name] = given[0]
        else:
            x = list(given) if node.layer.takes_many else given[0]
            made[node.name] = Context(node.name, record).run(node.layer, x)
        here[node.name] = made[node.name]
    updates = list(record.updates.items())
    if buffers is not None:
        updates += [(buffer, made[name].astype(buffer.dtype)) for name, buffer in buffers.items()]
    return Pass(sources, made, updates)


def layers_above(model: Model) -> dict[str, int]:
    """Return by node how many nodes are on the longest way from it to an output."""
    above = dict.fromkeys(model.network.outputs, 0)
    for node in reversed(model.network.nodes):
        if node.name in above:
            for name in node.inputs:
                above[name] = max(above.get(name, 0), above[node.name] + 1)
    return {n.name: above[n.name] for n in model.network.nodes if n.name in above}


def record_update(
    model: Model, mode: TweenMode, config: TweenConfig, found: Pass, targets: Mapping[str, Tensor], rate: Tensor,
    velocities: Mapping[str, Tensor], *, bypassed: frozenset[str] = frozenset(), watch: bool = False,
) -> TweenUpdate:  # fmt: skip
    """Record what a pass and targets by output make of the weights. ``watch``: budgets, gaps and targets as well."""
    wanted = {n: _numbers(t, wide(found.made[n])) for n, t in targets.items()}
    away = {n: wanted[n] - wide(found.made[n]) for n in wanted}
    samples = next(iter(found.made.values())).shape[0]
    squares = [(a * a).sum() for a in away.values()]
    recorded = TweenUpdate(reduce(lambda a, b: a + b, [_as(s, squares[0]) for s in squares]) * (1 / samples))
    recorded.loss = loss_or_nan(recorded.loss, found.updates)
    walk = _Walk(model, mode, config, found, rate, samples, bypassed, watch, wanted, recorded)
    moves = walk.run(away)
    recorded.updates = update_if_finite(
        recorded.loss, [*found.updates, *_apply_moves(model, mode, config, moves, velocities)]
    )
    return recorded


def loss_or_nan(loss: Tensor, updates: Pairs) -> Tensor:
    """Return a loss, NaN if buffers or running means would be no finite numbers, which no later pass could mend."""
    made = [new for _old, new in updates if new.dtype.is_float]
    return reduce(lambda a, b: a + b, [loss, *(_as((wide(n) - wide(n)).sum(), loss) for n in made)])


def update_if_finite(loss: Tensor, updates: Pairs) -> Pairs:
    """Return updates that are made if the loss is a finite number, and else change nothing."""
    is_sound = (loss - loss) == 0
    return [(old, tensor.where(is_sound, new, old)) for old, new in updates]


@dataclass(slots=True)
class _Walk:
    """From the outputs to the inputs: at each node what it is asked for, and the moves of its weights."""

    model: Model
    mode: TweenMode
    config: TweenConfig
    found: Pass
    rate: Tensor
    samples: int
    bypassed: frozenset[str]
    watch: bool
    wanted: Mapping[str, Tensor]
    recorded: TweenUpdate
    alive: dict[str, Tensor] = field(default_factory=dict[str, Tensor])

    def run(self, away: Mapping[str, Tensor]) -> dict[str, list[Move]]:
        """Return the moves by the weights' names."""
        asked: dict[str, list[Tensor]] = {n: [a if self.mode.is_chain else self.wanted[n]] for n, a in away.items()}
        above, moves = layers_above(self.model), dict[str, list[Move]]()
        for node in reversed(self.model.network.nodes):
            if node.name not in asked:
                continue
            handed = self._meet(node, asked.pop(node.name), above[node.name])
            for name, each in zip(node.inputs, handed.down, strict=True):
                if each is not None and name in self.found.made:
                    asked.setdefault(name, []).append(each)
            owner = node.layer.target if isinstance(node.layer, Shared) else node.name
            for key, move in handed.moves.items():
                moves.setdefault(f"{owner}.{key}", []).append(move)
        return moves

    def _meet(self, node: NodeSpec, asked: list[Tensor], above: int) -> Handed:
        total = reduce(lambda a, b: a + b, asked)
        total = total if self.mode.is_chain or len(asked) == 1 else total * (1 / len(asked))
        if node.name in self.bypassed:
            self._pass_on(node, self.alive.get(node.name))
            return Handed([total])
        link, actual = self._link(node, above), wide(self.found.made[node.name])
        end = ending(_plain(node.layer))
        if self.mode.is_chain:
            target = self.wanted.get(node.name)
            if target is None:
                target = clamp_target(actual + total * self.config.gradient_scale, end, self.config, from_zero=False)
        else:
            target = total = (
                total if node.name in self.wanted else clamp_target(total, end, self.config, from_zero=True)
            )
        if self.watch:
            self.recorded.targets[node.name] = target
            self.recorded.gaps[node.name] = _flat((target - actual) * (target - actual)).mean(1)
        budget = None
        if self.watch or self.config.frontier or self.mode.is_gap:
            budget = self.recorded.budgets[node.name] = link_budget(actual, target)
        alive = self._alive(node, budget)
        if self.mode.is_chain:
            handed = chain(link, total, self.rate * link.depth)
            if alive is None:
                return handed
            return Handed(handed.down, chain(link, total * _each(alive, total), self.rate * link.depth).moves)
        assert budget is not None
        scale = self.config.link_budget_scale
        rate = self.rate * (budget * scale + (1 - scale))
        rate = tensor.where(budget < self.config.ignore_threshold, 0.0, rate)
        return gap(link, target, rate if alive is None else rate * alive)

    def _alive(self, node: NodeSpec, budget: Tensor | None) -> Tensor | None:
        """Return 1 for samples that the frontier does not keep from this node, 0 for others; None without one."""
        if not self.config.frontier or budget is None:
            return None
        here = self.alive.get(node.name)
        here = tensor.ones(budget.shape, budget.dtype) if here is None else here
        self._pass_on(node, tensor.where(budget < self.config.frontier_threshold, 0.0, here))
        return here

    def _pass_on(self, node: NodeSpec, alive: Tensor | None) -> None:
        """Have what a node reads be kept from samples as told, unless another consumer is not."""
        if alive is None:
            return
        for name in node.inputs:
            known = self.alive.get(name)
            self.alive[name] = alive if known is None else tensor.maximum(known, alive)

    def _link(self, node: NodeSpec, above: int) -> Link:
        model, layer, shape = self.model, _plain(node.layer), self.model.shapes[node.inputs[0]]
        owner = node.layer.target if isinstance(node.layer, Shared) else node.name
        keys = {k: f"{owner}.{k}" for k in layer.parameters(shape)}
        rates: dict[str, float] = {}
        for part in layer.walk(shape, ""):
            inner = _plain(part.layer)
            own = inner.own_rates()
            for key in inner.own_weights(part.shape):
                name = f"{part.name}.{key}" if part.name else key
                rates[name] = own.get(key, self.config.rate_of(inner.kind))
        return Link(
            name=node.name, layer=layer, shape=shape, inputs=self.found.sources[node.name],
            output=self.found.made[node.name],
            weights={k: model.parameters[n] for k, n in keys.items() if n not in model.frozen},
            frozen={k: model.parameters[n] for k, n in keys.items() if n in model.frozen},
            rates=rates, samples=self.samples, depth=self.config.depth(above), config=self.config,
        )  # fmt: skip


def link_budget(actual: Tensor, target: Tensor) -> Tensor:
    """Return (cos + 1) / 2 of each sample's output and target, 1/2 where either is shorter than the root of .001."""
    a, t = _flat(actual), _flat(target)
    squares = (a * a).sum(1), (t * t).sum(1)
    is_long = (squares[0] > 0.001) & (squares[1] > 0.001)
    lengths = tensor.where(is_long, squares[0].sqrt() * squares[1].sqrt(), 1.0)
    return tensor.where(is_long, ((a * t).sum(1) / lengths + 1) * 0.5, 0.5)


def output_gap(found: Pass, targets: Mapping[str, Tensor]) -> Tensor:
    """Return the mean squared gap over all elements of the outputs."""
    total, count = None, 0
    for name, target in targets.items():
        actual = wide(found.made[name])
        away = _numbers(target, actual) - actual
        square = (away * away).sum()
        total, count = square if total is None else total + _as(square, total), count + actual.size
    assert total is not None, "a network has an output"
    return total * (1 / count)


def _apply_moves(
    model: Model, mode: TweenMode, config: TweenConfig, moves: Mapping[str, list[Move]],
    velocities: Mapping[str, Tensor],
) -> Pairs:  # fmt: skip
    """Return the new values of weights and velocities; several moves of one weight are summed first."""
    updates: Pairs = []
    for name, several in moves.items():
        w, first = model.parameters[name], several[0]
        step = reduce(lambda a, b: a + b, [m.amount for m in several])
        if mode.is_gap:
            step = step * (config.weight_multiplier if first.by_momentum else config.bias_multiplier)
        share = config.new_share if first.by_momentum else 1.0
        step = finite(step, 0.0) if first.bound is None else cut(step, first.bound * share)
        if first.by_momentum:
            v = velocities[name]
            step = finite(v * config.momentum + step, v)
            updates.append((v, step))
        updates.append((w, finite((wide(w) + step).astype(w.dtype), w)))
    return updates


def _plain(layer: Layer) -> Layer:
    return layer.layer if isinstance(layer, Shared) else layer


def _numbers(target: Tensor, like: Tensor) -> Tensor:
    """Return a target of classes as one-hot rows."""
    return tensor.one_hot(target, like.shape[-1], like.dtype) if target.dtype.is_integer else target.astype(like.dtype)


def _flat(x: Tensor) -> Tensor:
    return tensor.reshape(x, (x.shape[0], -1))


def _each(values: Tensor, like: Tensor) -> Tensor:
    return tensor.reshape(values, (values.shape[0], *(1,) * (like.ndim - 1)))


def _as(x: Tensor, like: Tensor) -> Tensor:
    return x if x.dtype == like.dtype else x.astype(like.dtype)


def number_type(model: Model) -> DType:
    """Return the type of rates and velocities."""
    return f32 if model.network.dtype.storage_only else model.network.dtype
