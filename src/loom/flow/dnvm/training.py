"""Training by the older name ``train_simple``: a list of batches, a config, a dict of what came of it.

Layer: flow, over ``loom.nn.train``. Invariant: one batch is one update, and no setting is without effect.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from loom.core.errors import ArgumentError, DTypeError, EmptyError, ShapeError, near_matches
from loom.flow.dnvm.current import current_network
from loom.flow.dnvm.evaluation import measure
from loom.flow.dnvm.reading import plain_keys, read_config, read_samples, require_one
from loom.nn.network import Network
from loom.nn.train.config import TrainConfig
from loom.nn.train.loop.trainer import Trainer
from loom.nn.train.samples import numbers
from loom.nn.train.scalars import flag, whole
from loom.nn.train.targets import fit_targets
from loom.nn.weights.model import Model
from loom.tensor import Tensor

__all__ = ["train_simple"]

_NO_GPU = ("cpu", "interp")
"""Kinds of devices that are not asked for as a GPU."""
_KEYS = (
    "epochs", "learningrate", "usegpu", "printeverybatch", "gradientclip", "losstype", "verbose", "evaluateeveryn",
    "validationinputs", "validationtargets",
)  # fmt: skip
"""Keys of a training's config, without underscores and capitals: both spellings are read."""


_last = threading.local()
"""The thread's last training, whose programs serve the next one of the same network."""


def train_simple(batches: Sequence[Mapping[str, Any]], config: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Train the current network, one update for each batch ``{"Input": flat, "Target": flat}`` of each epoch.

    ``inputs`` and ``targets`` are read as well.

    Config: Epochs, LearningRate, LossType ("mse", the sum over outputs of half the squared error, reported without the
    half; "cross_entropy"), GradientClip (the norm); ``learning_rate`` and the like are read as well. Batches keep their
    order. UseGPU: train on the best GPU (DeviceError if there is none), or, if false, on the CPU; else on the network's
    device. Verbose prints each epoch's loss, PrintEveryBatch that of every so many batches. EvaluateEveryN measures
    ValidationInputs and ValidationTargets after every so many epochs and prints it.

    Returns FinalLoss, BestLoss, TotalTime (ns), AvgThroughput (samples a second), LossHistory, and EvalMetrics: those
    of ``evaluate_network_simple`` after training, None without validation; with EvaluateEveryN also EvalHistory, one
    such for each time, with its Epoch.
    """
    net, told = current_network(), read_config(config, "train_simple")
    require_one(net, "train_simple")
    _require_settings(told)
    pairs = [_batch(net, batch) for batch in _require_list(batches)]
    start = time.perf_counter_ns()
    with net.model.alone("train_simple"):
        history, measured = _run(net, pairs, told)
    spent = time.perf_counter_ns() - start
    samples = sum(len(x) for x, _ in pairs) * len(history)
    found = {
        "FinalLoss": history[-1], "BestLoss": min(history), "TotalTime": spent,
        "AvgThroughput": samples / max(spent, 1) * 1e9, "LossHistory": history, "EvalMetrics": _metrics(net, told),
    }  # fmt: skip
    return found | ({"EvalHistory": measured} if "evaluateeveryn" in told else {})


def _require_settings(told: Mapping[str, Any]) -> None:
    """See that all settings are known, and that none is without effect."""
    where = "train_simple, config"
    for key in told:
        if key not in _KEYS:
            raise ArgumentError(where, f"no setting is called {key!r}", remedy=near_matches(key, _KEYS))
    given = [key for key in ("validationinputs", "validationtargets") if told.get(key) is not None]
    if len(given) == 1 or (_every(told, "evaluateeveryn") and not given):
        raise ArgumentError(where, "a validation lacks its samples",
                            expected="ValidationInputs and ValidationTargets", got=", ".join(given) or "neither",
                            remedy="Pass both, or none of them and no EvaluateEveryN")  # fmt: skip
    for key in ("usegpu", "verbose"):
        if told.get(key) is not None:
            flag(f"{where}, {key}", told[key])


def _every(told: Mapping[str, Any], key: str) -> int:
    """Return after how many epochs or batches something happens, 0 for never; true is after each."""
    value = told.get(key) or 0
    return 1 if value is True else whole(f"train_simple, config, {key}", value, least=0)


def _require_list(batches: Any) -> Sequence[Any]:
    what = "a mapping" if isinstance(batches, Mapping) else type(batches).__name__
    if isinstance(batches, (Mapping, str)) or not isinstance(batches, Sequence):
        raise DTypeError("train_simple, batches", "not a list of batches", expected="[{'Input': ..., 'Target': ...}]",
                         got=what, remedy="Put the batch into a list")  # fmt: skip
    if not batches:
        raise EmptyError("train_simple, batches", "no batches", expected="at least 1", got="none",
                         remedy="Pass [{'Input': [...], 'Target': [...]}]")  # fmt: skip
    return cast("Sequence[Any]", batches)


def _run(
    net: Network, pairs: list[tuple[Any, Any]], told: Mapping[str, Any]
) -> tuple[list[float], list[dict[str, Any]]]:
    """Train; return the mean loss of each epoch, and what was measured in between."""
    kind = told.get("losstype") or "mse"
    output = next(iter(net.outputs.values()))
    fits = [fit_targets(output, y, kind, "train_simple, Target") for _, y in pairs]
    settings = TrainConfig(
        loss=_half_square if kind == "mse" else fits[0][0], probabilities=net.gives_probabilities,
        learning_rate=told.get("learningrate", 0.01), clip_norm=told.get("gradientclip") or None,
        epochs=told.get("epochs", 1),
    )  # fmt: skip
    pairs, shown = [(x, y) for (x, _), (_, y) in zip(pairs, fits, strict=True)], 2.0 if kind == "mse" else 1.0
    model = _model_on(net, told.get("usegpu"))
    x_type, y_type = net.spec.inputs[0].dtype, model.result_type
    trainer = _last.trainer = Trainer(
        model, settings, frozen=model.frozen, rates=model.learning_rates, x_type=x_type, y_type=y_type,
        after=getattr(_last, "trainer", None),
    )  # fmt: skip
    count, every = sum(len(x) for x, _ in pairs), _every(told, "evaluateeveryn")
    history: list[float] = []
    measured: list[dict[str, Any]] = []
    try:
        for epoch in range(1, settings.epochs + 1):
            history.append(shown * _epoch(trainer, pairs, _every(told, "printeverybatch"), shown) / count)
            if told.get("verbose"):
                print(f"epoch {epoch}: loss {history[-1]:.6g}")
            if every and epoch % every == 0:
                _put_back(net, model)
                measured.append({"Epoch": epoch, **(_metrics(net, told) or {})})
                _print_metrics(measured[-1])
    finally:
        _put_back(net, model)
    net.training = None
    return history, measured


def _epoch(trainer: Trainer, pairs: list[tuple[Any, Any]], every: int, shown: float) -> float:
    """Make one update for each batch; return the sum of losses of all samples."""
    total = 0.0
    for number, (x, y) in enumerate(pairs, 1):
        loss = trainer.train_batch(x, y)
        total += loss * len(x)
        if every and number % every == 0:
            print(f"batch {number}: loss {shown * loss:.6g}")
    trainer.keep()
    return total


def _model_on(net: Network, use_gpu: bool | None) -> Model:
    """Return the network's model, or one with its weights on the device that is asked for."""
    if use_gpu is None or bool(use_gpu) == (net.model.device.kind not in _NO_GPU):
        return net.model
    found = Model(net.spec, "gpu" if use_gpu else "cpu")
    found.load(net.model.weights())
    return found


def _put_back(net: Network, model: Model) -> None:
    if model is not net.model:
        net.model.load(model.weights())


def _print_metrics(found: Mapping[str, Any]) -> None:
    score, away = f"{found['score']:.1f}/100", f"{found['avg_deviation']:.1f}%"
    print(f"  Validation Score: {score}, Avg Deviation: {away}, Failures: {found['failures']}/{found['total_samples']}")


def _metrics(net: Network, told: Mapping[str, Any]) -> dict[str, Any] | None:
    inputs, targets = told.get("validationinputs"), told.get("validationtargets")
    return None if inputs is None or targets is None else measure(net, inputs, targets, "train_simple, validation")


def _half_square(output: Tensor, target: Tensor) -> Tensor:
    """Return half the squared error, summed over outputs, of a sample on average: its gradient is (o - t) / B."""
    away = output - target
    return (away * away).sum() * (0.5 / output.shape[0])


def _batch(net: Network, batch: Mapping[str, Any]) -> tuple[Any, Any]:
    found = plain_keys(batch, "train_simple, batches")
    if set(found) != {"input", "target"}:
        raise ArgumentError(
            "train_simple, batches",
            "not a batch",
            expected="Input and Target",
            got=", ".join(batch) or "none",
            remedy="Pass [{'Input': [...], 'Target': [...]}]",
        )
    x = read_samples(net, found["input"], "train_simple, Input")
    y = numbers(found["target"], "train_simple", "Target").astype(np.float64)
    shape = net.spec.shapes()[net.spec.outputs[0]]
    if y.size != len(x) * int(np.prod(shape)):
        raise ShapeError(
            "train_simple, Target",
            "targets do not fit the output",
            expected=(len(x), *shape),
            got=y.shape,
            remedy="One number for each output of each sample",
        )
    return x, y.reshape(len(x), *shape)
