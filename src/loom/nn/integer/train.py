"""Training in integers: a step as one program, and the epochs around it.

Layer: nn. A step records forward, loss, the way back and the updates of masters, exponents and counts; the host feeds
samples that are integers and the rate as a mantissa of 12 bits and an exponent. Masters take steps rounded at random,
so that small ones count on average. An output's exponent grows at once when a batch needs it, and falls by what was
never needed for 64 steps. Invariant: a step's programs have no operation on floats.

Sources: M. Courbariaux and others, "Training deep neural networks with low precision multiplications" (2015) for
exponents that follow what overflows; M. Wang and others, "NITI: Training integer neural networks using integer-only
arithmetic" (2022) for gradients of a common exponent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from loom import tensor
from loom.core.arrays import Array
from loom.core.dtype import i32, i64
from loom.core.errors import ArgumentError, NotFinite
from loom.core.given import is_list
from loom.nn.base.random import RandomStream
from loom.nn.integer.door import read_samples
from loom.nn.integer.fixed import align, round_even, round_random, saturate
from loom.nn.integer.layers import OUTPUT_BITS
from loom.nn.integer.losses import LOSSES, TARGET_BITS, record_loss
from loom.nn.integer.model import NO_PEAK, IntegerModel
from loom.nn.integer.record import BITS, IntegerPass, Quantity, most_of, storage_type
from loom.nn.integer.weights import largest_master, quantise
from loom.nn.train.config import TrainConfig
from loom.nn.train.loop.history import History
from loom.nn.train.measures import Evaluation
from loom.nn.train.optimizers import SGD
from loom.nn.train.plan import order_of_epoch
from loom.nn.train.samples import WHOLE, batches
from loom.nn.train.schedules import Constant
from loom.nn.train.settings import config_of
from loom.nn.train.targets import fit_targets, outputs_of
from loom.tensor import Tensor, TensorProgram

__all__ = ["Steps", "rate_parts", "require_rules", "train_network"]

_RATE_BITS = 12
_MOMENTUM_BITS = 15
_MOST_STEP = (1 << 30) - 1
_MOST_LOSS = 1 << 61
_MOST_GROWTH = 30
"""How far the exponent of a master may grow in one training: not a bit of what it was is left then."""
_MOST_BOUNDED = 30
"""Steps on end that may be larger than a master: each may double it, so that they suffice for any distance."""
_MOST_SHOWN = 127
"""Numbers of 2^127 and more leave f32."""
_WINDOW = 64
"""Steps after which exponents of outputs may fall; a power of two."""
_MOST_TARGET = 1 << 14
_UNSUPPORTED = ("accumulate", "micro_batch", "clip_value", "clip_norm", "patience", "least_gain", "checkpoint",
                "checkpoint_every", "budget_nbytes", "evaluate_every", "compute", "precision",
                "loss_scale")  # fmt: skip


def rate_parts(rate: float) -> Array:
    """Return a rate as a mantissa of 12 bits and an exponent, i32: rate = m 2^k, rounded to nearest."""
    if not math.isfinite(rate):
        raise ArgumentError("IntegerNetwork.train, learning_rate", "too large", expected="a finite number",
                            got=rate, remedy="Lower it")  # fmt: skip
    m, k = math.frexp(rate)
    return np.array([round(m * (1 << _RATE_BITS)), k - _RATE_BITS], np.int32)


class Steps:
    """The programs of a training, and what they keep besides the network's own numbers."""

    def __init__(self, net: IntegerModel, loss: str, momentum: float, rounding: str, gradients: str, seed: int):
        self.net, self.loss, self.seed = net, loss, seed
        self.nearest, self.gradient_bits = rounding == "nearest", BITS[gradients]
        self.momentum = min(round(momentum * (1 << _MOMENTUM_BITS)), (1 << _MOMENTUM_BITS) - 1)
        frozen = {p.name for p in net.spec.walk() if p.layer.frozen}
        self.trained = [n for n in net.masters if not any(n.startswith(f"{f}.") for f in frozen)]
        if not self.trained:
            raise ArgumentError("IntegerNetwork.train", "nothing can be trained",
                                expected="a weight that is not frozen", got=f"{len(net.masters)} weights",
                                remedy="Unfreeze a layer")  # fmt: skip
        self.velocities: dict[str, Tensor] = {}
        if self.momentum:
            self.velocities = {
                n: tensor.parameter(np.zeros(net.masters[n].shape, np.int32), i32, name=f"v.{n}", on=net.device)
                for n in self.trained
            }
        self.total = tensor.parameter(np.zeros((), np.int64), i64, name="loss", on=net.device)
        self.bounded, self.longest = (
            tensor.parameter(np.zeros((), np.int32), i32, name=name, on=net.device) for name in ("bounded", "longest")
        )
        """Steps on end in which some weight would have moved further than it may, and the most of them."""
        self._sizes: list[Tensor] = []
        self._made: dict[Any, TensorProgram] = {}

    def of(self, samples: int, y: Array) -> TensorProgram:
        """Return the program of a step with so many samples and targets like ``y``."""
        key = (samples, y.shape[1:], y.dtype)
        if key not in self._made:
            self._made[key] = self._compile(samples, y)
        return self._made[key]

    def _compile(self, samples: int, y: Array) -> TensorProgram:
        loss, updates = self.ends(samples, y)
        return tensor.compile([loss], updates, on=self.net.device, name="integer_step")

    def ends(self, samples: int, y: Array) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Record a step; return the loss, and what it changes with the new values."""
        net = self.net
        targets = tensor.input("y", (samples, *y.shape[1:]), i32)
        rate = tensor.input("rate", (2,), i32)
        rec = IntegerPass("train", net.bits, net.quantities(), net.outputs, self.seed, net.step, self.gradient_bits,
                   self.nearest)  # fmt: skip
        zero = rate[1] * 0
        x = net.inputs_of(samples)
        found = net.record(rec, {n: Quantity(t, zero + net.inputs[n]) for n, t in x.items()})
        loss, start, gradient = record_loss(rec, self.loss, next(iter(found.values())), targets)
        rec.back(start, gradient)
        total = tensor.minimum(self.total, _MOST_LOSS) + tensor.minimum(loss, _MOST_LOSS)
        updates: list[tuple[Tensor, Tensor]] = [(self.total, total), (net.step, net.step + 1)]
        self._sizes = []
        for name in self.trained:
            if name in rec.gradients:
                updates += self._update(rec, name, rec.gradients[name], rate)
        size = self._sizes[0]
        for each in self._sizes[1:]:
            size = tensor.maximum(size, each)
        bounded = tensor.where(size >= _MOST_STEP, self.bounded + 1, 0)
        updates += [(self.bounded, bounded), (self.longest, tensor.maximum(self.longest, bounded))]
        updates += self._exponents(rec)
        return loss, updates

    def _update(self, rec: IntegerPass, name: str, g: Quantity, rate: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Record the step of one weight; where its master would leave its range, the exponent grows by one."""
        net = self.net
        master, e = net.masters[name], net.exponents[name]
        words = None if self.nearest else rec.words(master.shape, RandomStream.ROUNDING)
        step = saturate(align(g.q * rate[0].astype(i64), g.e + rate[1] - e, words), _MOST_STEP)
        velocity = self.velocities.get(name)
        if velocity is not None:
            old = velocity.astype(i64) * self.momentum
            kept = (
                round_even(old, _MOMENTUM_BITS)
                if self.nearest
                else round_random(old, _MOMENTUM_BITS, rec.words(master.shape, RandomStream.ROUNDING))
            )
            step = saturate(kept + step, _MOST_STEP)
        self._sizes.append(step.abs().max())
        moved = master.astype(i64) - step
        most = largest_master(name, net.bits)
        grows = (moved.abs().max() > most).astype(i32)
        updates = [
            (master, saturate(round_even(moved, grows), most).astype(i32)),
            (e, e + grows),
        ]
        if velocity is not None:
            updates.append((velocity, round_even(step, grows).astype(i32)))
        return updates

    def _exponents(self, rec: IntegerPass) -> list[tuple[Tensor, Tensor]]:
        net = self.net
        is_due = (net.step & (_WINDOW - 1)) == _WINDOW - 1
        updates: list[tuple[Tensor, Tensor]] = []
        for name, e in net.outputs.items():
            if name not in rec.needed:
                continue
            need: Any = rec.needed[name]
            grown = tensor.maximum(e, need)
            peak = tensor.maximum(net.peaks[name], need)
            falls = is_due & (peak < grown - 1)
            updates.append((e, tensor.where(falls, peak + 1, grown)))
            updates.append((net.peaks[name], tensor.where(is_due, peak * 0 + NO_PEAK, peak)))
            updates.append((net.saturated[name], net.saturated[name] + rec.lost[name]))
        return updates

    def free(self) -> None:
        """Give up the programs' memory."""
        for program in self._made.values():
            program.free()


def _divisor(loss: str, samples: int, y: Array, output: tuple[int, ...]) -> float:
    """Return what the mean of a loss divides its sum by: samples (rows of classes), or elements."""
    if loss == "cross_entropy":
        return samples * math.prod(output[:-1])
    del y
    return samples * math.prod(output)


def train_network(
    net: IntegerModel, name: str, x: Any, y: Any, validation: Any, optimizer: Any, schedule: Any, rounding: str,
    gradients: str, settings: Mapping[str, Any], evaluate: Callable[..., Evaluation],
) -> History:  # fmt: skip
    """Train with the output called ``name``: see ``IntegerNetwork.train``. ``evaluate`` measures what is held out."""
    where = "IntegerNetwork.train"
    require_rules(where, rounding, gradients)
    for setting in ("progress", "resume"):
        if setting in settings:
            raise ArgumentError(f"{where}, {setting}", "has no rule in integers", expected="left out",
                                got=repr(settings[setting])[:60], remedy="Leave it out")  # fmt: skip
    if validation is not None and not (is_list(validation) and len(validation) == 2):
        raise ArgumentError(f"{where}, validation", "not samples and their targets", expected="a pair (x, y)",
                            got=type(validation).__name__, remedy="Pass validation=(x, y)")  # fmt: skip
    output = outputs_of(net.spec)[name]
    loss, targets = fit_targets(output, y, settings.get("loss"), f"{where}, y")
    if loss not in LOSSES:
        raise ArgumentError(f"{where}, loss", f"{loss!r} has no rule in integers", expected=", ".join(LOSSES),
                            got=str(loss)[:60], remedy="Use one of these")  # fmt: skip
    given = read_samples(net.spec, x, f"{where}, x")
    config = config_of(net.spec, output.gives_probabilities, given, optimizer, schedule, {**settings, "loss": loss})
    momentum = _momentum(config)
    truths = _targets(targets, str(loss), output.shape, f"{where}, y", len(next(iter(given.values()))))
    most, kind = most_of(net.bits), storage_type(net.bits).numpy
    samples = [quantise(a, net.inputs[n], most).astype(kind) for n, a in given.items()]
    with net.lock:
        steps = Steps(net, str(loss), momentum, rounding, gradients, config.seed)
        before = [t.numpy() for t in net.state()]
        try:
            return _epochs(net, steps, config, samples, truths, output.shape, validation, evaluate)
        except NotFinite:
            for t, values in zip(net.state(), before, strict=True):
                t.assign(values)
            raise
        finally:
            steps.free()
            net.version += 1


def require_rules(where: str, rounding: Any, gradients: Any) -> None:
    """Raise ArgumentError for a rounding or a type of gradients that there is not."""
    for setting, value, known in (("rounding", rounding, ("stochastic", "nearest")), ("gradients", gradients, BITS)):
        if not isinstance(value, str) or value not in known:
            raise ArgumentError(f"{where}, {setting}", "unknown", expected=" or ".join(known), got=repr(value)[:60],
                                remedy="Use one of these")  # fmt: skip


def _require_sane(net: IntegerModel, started: Mapping[str, int], steps: int, bounded: int) -> None:
    """Raise NotFinite where numbers have left f32, a weight has outgrown its master, or steps are always bounded."""
    remedy = "All numbers are those before the training. Lower the learning rate"
    if bounded >= _MOST_BOUNDED:
        error = NotFinite(f"IntegerNetwork.train, step {steps - 1}", "steps are larger than the weights they change",
                          expected=f"fewer than {_MOST_BOUNDED} such steps on end", got=bounded,
                          remedy=remedy)  # fmt: skip
        error.step = steps - 1
        raise error
    sizes = {name: int(e.item()) + largest_master(name, net.bits).bit_length() for name, e in net.exponents.items()}
    sizes |= {name: int(e.item()) + OUTPUT_BITS for name, e in net.outputs.items()}
    grown = [n for n, e in started.items() if int(net.exponents[n].item()) - e >= _MOST_GROWTH]
    wrong = [*(n for n, size in sizes.items() if size > _MOST_SHOWN), *grown]
    if wrong:
        error = NotFinite(f"IntegerNetwork.train, step {steps - 1}", f"{wrong[0]!r} has grown without bound",
                          expected=f"numbers below 2^{_MOST_SHOWN}, of weights less than 2^{_MOST_GROWTH} times as "
                          "large as before the training", got=f"up to 2^{sizes[wrong[0]]}",
                          remedy=remedy)  # fmt: skip
        error.step, error.tensor = steps - 1, wrong[0]
        raise error


def _momentum(config: TrainConfig) -> float:
    """Return the optimiser's momentum; ArgumentError for what has no rule in integers."""
    plain = TrainConfig()
    for name in _UNSUPPORTED:
        if getattr(config, name) != getattr(plain, name):
            raise ArgumentError(f"IntegerNetwork.train, {name}", "has no rule in integers", expected="left out",
                                got=repr(getattr(config, name))[:60], remedy="Leave it out")  # fmt: skip
    optimizer = config.optimizer
    if not isinstance(optimizer, SGD) or optimizer.nesterov or optimizer.weight_decay or optimizer.dampening:
        raise ArgumentError("IntegerNetwork.train, optimizer", "has no rule in integers",
                            expected="'sgd', or SGD(momentum=...)", got=repr(optimizer)[:120],
                            remedy="Use loom.nn.train.SGD(momentum=0.9)")  # fmt: skip
    return optimizer.momentum


def _targets(y: Array, loss: str, output: tuple[int, ...], where: str, samples: int) -> Array:
    """Return targets as i32: classes of a cross-entropy, or numbers in units of 2^-16."""
    if len(y) != samples:
        raise ArgumentError(where, "x and y differ in samples", expected=samples, got=len(y),
                            remedy="One target for each sample")  # fmt: skip
    if y.dtype.kind in WHOLE and loss == "cross_entropy":
        return y.astype(np.int32)
    if loss == "binary_cross_entropy" and y.ndim == len(output):  # classes
        y = np.eye(output[-1], dtype=np.float32)[y]
    y = y.astype(np.float64)
    if not np.isfinite(y).all() or np.abs(y).max(initial=0) >= _MOST_TARGET:
        raise ArgumentError(where, "a target is too large", expected=f"finite, below {_MOST_TARGET} in size",
                            got=f"{np.abs(y).max(initial=0):g}", remedy="Scale the targets")  # fmt: skip
    return quantise(y, -TARGET_BITS, (1 << 31) - 1).astype(np.int32)


def _epochs(
    net: IntegerModel, steps: Steps, config: TrainConfig, x: list[Array], y: Array, output: tuple[int, ...],
    validation: Any, evaluate: Callable[..., Evaluation],
) -> History:  # fmt: skip
    history, n = History(), len(y)
    cuts = batches(n, config.batch_size)
    schedule = config.schedule or Constant(config.learning_rate)
    unit = math.log(2) if steps.loss != "mse" else 1.0
    done, started = 0, {n: int(e.item()) for n, e in net.exponents.items()}
    for epoch in range(config.epochs):
        order = order_of_epoch(n, config.seed, epoch) if config.shuffle else np.arange(n)
        rate = 0.0
        for cut in cuts:
            chosen = order[cut]
            size = len(chosen)
            rate = schedule.at(done)
            share = _divisor(steps.loss, size, y, output)
            parts = rate_parts(rate * (2.0 if steps.loss == "mse" else 1.0) / share)
            fed = {f"x{k}": a[chosen] for k, a in enumerate(x)}
            steps.of(size, y).run(y=y[chosen], rate=parts, **fed)
            done += 1
        _require_sane(net, started, done, int(steps.longest.item()))
        total = int(steps.total.item()) / 65536 * unit / _divisor(steps.loss, n, y, output)
        steps.total.assign(np.zeros((), np.int64))
        history.loss.append(total)
        history.rate.append(rate)
        if validation is not None:
            net.version += 1
            seen = evaluate(*validation, loss=steps.loss)
            history.validation_loss.append(seen.loss)
            if seen.accuracy is not None:
                history.validation_accuracy.append(seen.accuracy)
    return history
