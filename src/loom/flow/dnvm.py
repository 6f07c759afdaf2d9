"""The older cross-platform names of networks: ``create_network_from_json``, ``forward_simple``, ``train_simple``, ...

Layer: flow, over ``loom.nn``. As there, one network is the current one: the one that the thread made or loaded last; in
a thread that made none, the one made last in any. Invariant: a name means what it meant there, computed by
``loom.Network``, and no thread takes another's network away.

>>> from loom.flow.dnvm import create_network_from_json, forward_simple
>>> _ = create_network_from_json({"format": "loom/1", "input": {"shape": [2]}, "layers": [
...     {"type": "dense", "output_size": 1}]})
>>> len(forward_simple([1.0, 2.0]))
1
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np

from loom.core.errors import ArgumentError, DTypeError, EmptyError, ShapeError, StateError, near_matches
from loom.nn.model import Model
from loom.nn.network import Document, Network
from loom.nn.train.config import TrainConfig
from loom.nn.train.measures import deviation_metrics
from loom.nn.train.samples import numbers
from loom.nn.train.scalars import flag, whole
from loom.nn.train.targets import fit_targets
from loom.nn.train.trainer import Trainer
from loom.tensor import Tensor

__all__ = [
    "create_network_from_json", "evaluate_network_simple", "forward_simple", "load_model_simple", "save_model_simple",
    "train_simple",
]  # fmt: skip

_NO_GPU = ("cpu", "interp")
"""Kinds of devices that are not asked for as a GPU."""
_latest: list[Network] = []
"""The network made last in any thread."""
_own = threading.local()

_KEYS = (
    "epochs", "learningrate", "usegpu", "printeverybatch", "gradientclip", "losstype", "verbose", "evaluateeveryn",
    "validationinputs", "validationtargets",
)  # fmt: skip
"""Keys of a training's config, without underscores and capitals: both spellings are read."""


def create_network_from_json(document: Document) -> Network:
    """Make a document's network the current one and return it."""
    return _set(Network.from_json(document))


def forward_simple(values: Sequence[float]) -> list[float]:
    """Return the current network's outputs, flat, for one flat vector: one sample after the other."""
    net = _network()
    return net.predict(_samples(net, values, "forward_simple")).reshape(-1).tolist()


def save_model_simple(model_id: str = "model") -> str:
    """Return the current network with its weights as the text of a bundle."""
    return _network().save(id=model_id)


def load_model_simple(bundle: Document, model_id: str | None = None) -> Network:
    """Make a model of a bundle the current network and return it."""
    return _set(Network.load(bundle, model_id))


def evaluate_network_simple(inputs: Sequence[Sequence[float]], expected: Sequence[float]) -> dict[str, Any]:
    """Return the deviation metrics of the current network, under the names of the older JSON."""
    return _measured(_network(), inputs, expected, "evaluate_network_simple")


def _measured(net: Network, inputs: Any, expected: Any, where: str) -> dict[str, Any]:
    return deviation_metrics(net.predict(_samples(net, inputs, where)), expected).to_dict()


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
    net, told = _network(), _plain_keys(config or {}, "train_simple, config")
    _require_one(net, "train_simple")
    _require_settings(told)
    pairs = [_batch(net, batch) for batch in _listed(batches)]
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


def _listed(batches: Any) -> Sequence[Any]:
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
    trainer = Trainer(model, settings, frozen=model.frozen, rates=model.learning_rates, x_type=x_type, y_type=y_type)
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
    return None if inputs is None or targets is None else _measured(net, inputs, targets, "train_simple, validation")


def _half_square(output: Tensor, target: Tensor) -> Tensor:
    """Return half the squared error, summed over outputs, of a sample on average: its gradient is (o - t) / B."""
    away = output - target
    return (away * away).sum() * (0.5 / output.shape[0])


def _batch(net: Network, batch: Mapping[str, Any]) -> tuple[Any, Any]:
    found = _plain_keys(batch, "train_simple, batches")
    if set(found) != {"input", "target"}:
        raise ArgumentError(
            "train_simple, batches",
            "not a batch",
            expected="Input and Target",
            got=", ".join(batch) or "none",
            remedy="Pass [{'Input': [...], 'Target': [...]}]",
        )
    x = _samples(net, found["input"], "train_simple, Input")
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


def _require_one(net: Network, where: str) -> None:
    """See that a flat vector can be all that the network takes, and all that it gives."""
    ports = len(net.spec.inputs), len(net.spec.outputs)
    if ports != (1, 1):
        raise ArgumentError(where, "the network has several inputs or outputs", expected="one of each",
                            got=f"{ports[0]} and {ports[1]}",
                            remedy="Use the methods of the network: predict, train, evaluate")  # fmt: skip


def _samples(net: Network, values: Any, where: str) -> np.ndarray[Any, Any]:
    """Return flat numbers as samples of the network's input."""
    _require_one(net, where)
    shape = net.spec.inputs[0].shape
    found = numbers(values, where, "the input")
    each = int(np.prod(shape))
    if found.size == 0 or found.size % each:
        raise ShapeError(
            where,
            "not whole samples",
            expected=f"a multiple of {each} numbers",
            got=found.size,
            remedy="Pass one sample after the other",
        )
    return found.reshape(-1, *shape)


def _plain_keys(found: Any, where: str) -> dict[str, Any]:
    """Return a mapping's values by its keys without underscores and capitals; ArgumentError for a key twice."""
    if not isinstance(found, Mapping):
        raise DTypeError(where, "not a mapping", expected="keys and values", got=type(found).__name__,
                         remedy="Pass a dict")  # fmt: skip
    plain: dict[str, Any] = {}
    spelt: dict[str, str] = {}
    for key, value in cast("Mapping[Any, Any]", found).items():
        name = str(key).replace("_", "").lower()
        name = _BATCH_KEYS.get(name, name)
        if name in plain:
            raise ArgumentError(where, "a key is there twice, in two spellings", expected="one of them",
                                got=f"{spelt[name]!r} and {key!r}", remedy="Leave one out")  # fmt: skip
        plain[name], spelt[name] = value, str(key)
    return plain


_BATCH_KEYS = {"inputs": "input", "targets": "target"}
"""Other names of what a batch has."""


def _set(net: Network) -> Network:
    _latest[:] = [net]
    _own.network = net
    return net


def _network() -> Network:
    found = getattr(_own, "network", None) or next(iter(_latest), None)
    if found is None:
        raise StateError("loom.flow.dnvm", "there is no network", expected="create_network_from_json first", got="none",
                         remedy="Make or load one")  # fmt: skip
    return found
