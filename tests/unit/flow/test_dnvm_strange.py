"""Every older name with every argument replaced by something strange: it works, or the error is one of the house."""

from __future__ import annotations

import copy
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loom.core.errors import LoomError, StateError
from loom.flow import dnvm
from loom.flow.dnvm import Activation, InitDenseLayer, text
from loom.flow.dnvm.current import set_current

DENSE = InitDenseLayer(4, 2, 0)
DOCUMENT: dict[str, Any] = {
    "batch_size": 1, "grid_rows": 1, "grid_cols": 1, "layers_per_cell": 2,
    "layers": [{"type": "dense", "input_size": 4, "output_size": 3, "activation": "relu"},
               {"type": "dense", "output_size": 2, "activation": "sigmoid"}],
}  # fmt: skip
SAMPLE = [0.1, 0.2, 0.3, 0.4]
STRANGE: tuple[Any, ...] = (object(), np.array([1, 2]), None, 10**20, "x", [None])
ALL = sorted(set(dnvm.__all__) - {"Activation", "NUMERICAL_TYPES", "Scheduler", "enable_gpu_global"})
WHOLE = dict.fromkeys(
    ("input_size", "grid_rows", "rows", "grid_cols", "cols", "layers_per_cell", "batch_size", "seq_length", "stride",
     "input_channels", "padding", "num_heads", "step", "n", "max_iter", "seed"), 1,
) | dict.fromkeys(
    ("output_size", "filters", "vocab_size", "embedding_dim", "num_clusters", "k", "warmup_steps", "total_steps",
     "period", "decay_steps", "step_size", "hidden_size", "intermediate_size", "norm_size", "window_ms"), 2,
) | {"kernel_size": 3, "input_length": 8, "input_height": 6, "input_width": 6, "gate_input_size": 4, "d_model": 4,
     "total_ms": 10, "row": 0, "col": 0, "layer_index": 0}  # fmt: skip
REAL = dict.fromkeys(
    ("epsilon", "learning_rate", "base_lr", "start_lr", "target_lr", "alpha", "beta1", "beta2", "weight_decay",
     "momentum", "threshold", "temperature", "decay_rate", "factor", "power"), 0.5,
) | {"end_lr": 0.1, "min_lr": 0.1, "min_coverage": 0.0, "dampening": 0.0}  # fmt: skip


def sound_arguments(folder: Path) -> dict[str, Any]:
    """Return what every argument may be; the current network is a new one with gradients."""
    net = dnvm.create_network_from_json(DOCUMENT)
    state, rate = dnvm.StepState(4), dnvm.create_constant_scheduler(0.5)
    state.set_input(SAMPLE)
    state.step_forward()
    state.step_backward([0.1, 0.2])
    dnvm.forward(net, SAMPLE)
    dnvm.backward(net, [0.0, 1.0])
    bundle = dnvm.save_model_simple("m")
    return {
        **WHOLE, **REAL, "values": SAMPLE, "gradients": [0.1, 0.2], "target_data": [0.0, 1.0], "layers": [DENSE],
        "branches": [DENSE], "attached_layer": DENSE, "layer_config": DENSE, "layer_sizes": [4, 2], "network": net,
        "networks": [copy.copy(net), copy.copy(net)], "scheduler": rate, "after": rate, "targets": [[0.0, 1.0]],
        "inputs": [SAMPLE],
        "expected": [1.0], "batches": [{"Input": SAMPLE, "Target": [0.0, 1.0]}], "document": DOCUMENT, "dtype": "i8",
        "data": [[1.0, 2.0], [2.0, 1.0], [3.0, 3.5]], "matrix_a": [[1.0, 2.0], [2.0, 1.0]], "assignments": [0, 1, 0],
        "masks": {"a": [True, False], "b": [False, True]}, "function_name": "list_layer_init_functions", "state": state,
        "bucket": "0-10%", "feature": 0, "callback": print, "path": folder / "file", "tensors": {"a": [1.0, 2.0]},
        "metrics": dnvm.evaluate_network_simple([SAMPLE], [1.0]), "dtypes": ["I8"], "bundle": bundle, "use_gpu": False,
        "correlation": dnvm.compute_correlation([[1.0, 2.0], [2.0, 1.0]]), "model_json": bundle, "name": "forward",
        "tokens": [1, 2], "text": "text", "prompt": "text", "weights": b"", "max_tokens": 1,
    }  # fmt: skip


def arguments(name: str, known: dict[str, Any]) -> dict[str, Any]:
    """Return sound arguments of a function by their names."""
    found = dict(known)
    if name.startswith("apply_gradients"):
        known["state"].step_backward([0.1, 0.2])
    if name in ("set_layer", "configure_sequential_network"):
        found["network"] = dnvm.create_network(4)
    if name == "StepState":
        found["input_size"] = 4
    if name == "train":
        found["batches"] = [(SAMPLE, [0.0, 1.0])]
    if name == "train_labels":
        found["labels"] = [1]
    if name == "call_layer_init":
        found["function_name"] = "InitResidualLayer"
    if name == "load_safetensors_with_shapes":
        found["data"] = dnvm.serialize_safetensors({"a": [1.0, 2.0]})
    if name == "load_transformer_from_bytes":
        found["config"] = b"{}"
    if name == "load_safetensors":
        dnvm.save_safetensors(found["path"], {"a": [1.0, 2.0]})
    if name == "load_metrics":
        dnvm.save_metrics(found["metrics"], found["path"])
    wanted = inspect.signature(getattr(dnvm, name)).parameters.values()
    made = {p.name: found.get(p.name, p.default) for p in wanted if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
    assert inspect.Parameter.empty not in made.values(), f"{name}: no sound argument for one of {made}"
    return made


def try_name(name: str, known: dict[str, Any], values: tuple[Any, ...]) -> None:
    """Call a name with each argument replaced by each value."""
    given = arguments(name, known)
    for argument, strange in [(a, v) for a in given for v in values]:
        try:
            getattr(dnvm, name)(**{**given, argument: strange})
        except LoomError:
            continue
        except Exception as error:
            pytest.fail(f"{name}, {argument}={strange!r}: {error!r}")


@pytest.mark.parametrize("values", [STRANGE[:2], pytest.param(STRANGE[2:], marks=pytest.mark.slow)])
def test_strange_arguments_give_errors_of_the_house(
    values: tuple[Any, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # "x" is a file to write, too
    known = sound_arguments(tmp_path)
    for name in ALL:
        set_current(known["network"])
        known["network"].to("cpu")
        run_by_others = name.startswith(("update_weights", "apply_gradients_", "initialize_gpu", "train"))
        if not run_by_others and name not in text.__all__:  # which need a model
            getattr(dnvm, name)(**arguments(name, known))
            set_current(known["network"])
        try_name(name, known, values)


def test_configs_that_are_none_are_refused_and_pairs_that_are_none() -> None:
    net = dnvm.create_network_from_json(DOCUMENT)
    for config in ([], 0, "", False):
        with pytest.raises(LoomError, match="not a mapping"):
            dnvm.train_simple([{"Input": SAMPLE, "Target": [0.0, 1.0]}], config)  # type: ignore[arg-type]
    with pytest.raises(LoomError, match="not an input and its target"):
        dnvm.train(net, [{"Input": SAMPLE, "Target": [0.0, 1.0]}])  # type: ignore[list-item]
    with pytest.raises(LoomError, match="not the network's classes"):
        dnvm.train_labels([SAMPLE], [float("nan")])  # type: ignore[list-item]


def test_a_batch_size_that_comes_too_late_is_refused() -> None:
    network = dnvm.create_network(4)
    dnvm.configure_sequential_network(network, [4, 2], [Activation.TANH])
    network.BatchSize = 3
    assert network.network.spec.batch_size == 3
    network.BatchSize = 3
    with pytest.raises(StateError, match="the network is built"):
        network.BatchSize = 4
