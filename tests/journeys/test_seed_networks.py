"""Every Python name of the documents that the networks began from is there and in the guide, and their listings run.

Listings are those of the seeds, line by line, with data and targets (``[...]`` there) filled in. Oracles: numbers that
the listings themselves promise (shapes, falling losses, no difference after saving), worked out by hand elsewhere.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from loom.flow import dnvm as welvet
from loom.flow.dnvm import current

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/guide/networks/names.md"
OF_THE_SEEDS = [
    "load_tokenizer_from_bytes",
    "load_transformer_from_bytes",
    "encode_text",
    "decode_tokens",
    "generate_text",
    "generate_stream",
    "generate_text_stream",
    "create_network_from_json",
    "forward_simple",
    "train_simple",
    "save_model_simple",
    "load_model_simple",
    "evaluate_network_simple",
    "StepState",
    "apply_gradients",
    "load_model_from_string",
    "create_network",
    "configure_sequential_network",
    "Activation",
    "train_epoch",
    "forward",
    "cleanup_gpu",
    "free_network",
]
"""Names of the two documents."""
OF_THE_PACKAGE = [
    "save_model_to_string",
    "get_output",
    "backward",
    "update_weights",
    "initialize_gpu",
    "get_version",
    "init_dense_layer",
    "set_layer",
    "get_network_info",
    "call_layer_init",
    "list_layer_init_functions",
    "train",
    "backward_simple",
    "update_weights_simple",
    "get_network_info_simple",
    "train_standard",
    "train_labels",
    "apply_gradients_adamw",
    "apply_gradients_rmsprop",
    "apply_gradients_sgd_momentum",
    "TweenState",
    "AdaptationTracker",
    "compute_silhouette_score",
    "kmeans_cluster",
    "compute_correlation",
    "compute_correlation_matrix",
    "find_complementary_matches",
    "create_network_for_graft",
    "graft_networks",
    "free_graft_network",
    "Scheduler",
    "create_constant_scheduler",
    "create_linear_decay_scheduler",
    "create_cosine_scheduler",
    "get_scheduler_lr",
    "free_scheduler",
    "enable_gpu_global",
]
"""Names of the package that they describe (0.0.10)."""


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("LOOM_DEVICE", "cpu")
    monkeypatch.setattr(current, "_own", threading.local())
    yield
    current._latest.clear()


def _told() -> set[str]:
    """Return the names in the first columns of the page's tables of older names."""
    tables = [text.split("\n\n")[0] for text in PAGE.read_text().split("| older name |")[1:]]
    lines = [line for table in tables for line in table.splitlines()]
    return {name for line in lines for name in re.findall(r"`(\w+)`", line.split(" | ")[0])}


def test_every_name_is_there_and_in_the_guide() -> None:
    assert {*OF_THE_SEEDS, *OF_THE_PACKAGE} <= set(welvet.__all__)
    assert set(welvet.__all__) == _told()
    assert all(getattr(welvet, name).__doc__ for name in welvet.__all__)


def test_what_stands_beside_each_name_is_there() -> None:
    """The paths into ``loom`` and the methods of networks that the page names."""
    import loom

    page = PAGE.read_text()
    for path in set(re.findall(r"`(loom(?:\.\w+)+)", page)):
        found = loom
        for part in path.split(".")[1:]:
            found = getattr(found, part)
    for method in set(re.findall(r"`network\.(\w+)", page)) - {"spec"}:
        assert callable(getattr(loom.Network, method)), method


def test_quick_example() -> None:
    """Seed 004, "Python Package (welvet)", "Quick Example"; without a GPU, which is another device of the same bits."""
    # Create network
    network = welvet.create_network(input_size=4, grid_rows=1, grid_cols=1, layers_per_cell=2, use_gpu=False)

    # Configure: 4 -> 8 -> 2
    welvet.configure_sequential_network(
        network, layer_sizes=[4, 8, 2], activations=[welvet.Activation.RELU, welvet.Activation.SIGMOID]
    )

    # Training data
    inputs = [[0.1, 0.2, 0.3, 0.4], [0.5, 0.6, 0.7, 0.8]]
    targets = [[1.0, 0.0], [0.0, 1.0]]

    # Train
    losses = []
    for epoch in range(10):
        loss = welvet.train_epoch(network, inputs, targets, learning_rate=0.1)
        print(f"Epoch {epoch + 1}: loss = {loss:.4f}")
        losses.append(loss)

    # Predict
    output = welvet.forward(network, [0.1, 0.2, 0.3, 0.4])
    print(f"Output: {output}")

    # Cleanup
    welvet.cleanup_gpu(network)
    welvet.free_network(network)

    assert losses[-1] < losses[0]
    assert len(output) == 2
    assert all(0.0 < o < 1.0 for o in output)


CONFIG = {
    "batch_size": 1, "grid_rows": 1, "grid_cols": 1, "layers_per_cell": 2, "layers": [
        {"type": "dense", "input_size": 4, "output_size": 6, "activation": "tanh"},
        {"type": "dense", "input_size": 6, "output_size": 2, "activation": "sigmoid"},
    ],
}  # fmt: skip


def test_stepping_api() -> None:
    """Seed 004, "Stepping API", with a hundred steps and not a hundred thousand."""
    from loom.flow.dnvm import StepState, apply_gradients, create_network_from_json

    target = [0.9, 0.1]

    # Create network
    config = CONFIG
    network = create_network_from_json(config)

    # Initialize stepping state
    state = StepState(input_size=4)

    # Training loop
    away = []
    for step in range(100):
        state.set_input([0.1, 0.2, 0.1, 0.3])
        state.step_forward()
        output = state.get_output()

        # Calculate gradients
        gradients = [output[i] - target[i] for i in range(len(output))]

        # Backward pass
        state.step_backward(gradients)

        # Update weights
        apply_gradients(learning_rate=0.01)
        away.append(sum(abs(g) for g in gradients))
        assert step < 2 or away[-1] <= away[1]

    assert away[-1] < away[1]
    assert network.predict([[0.1, 0.2, 0.1, 0.3]]).shape == (1, 2)


def test_simple_example_and_models() -> None:
    """Seed 001, "Python", and the functions of its table "Cross-Platform API", one after the other."""
    config = CONFIG
    welvet.create_network_from_json(config)
    output = welvet.forward_simple([0.1, 0.2, 0.3, 0.4])

    result = welvet.train_simple(
        [{"inputs": [0.1, 0.2, 0.3, 0.4], "targets": [1.0, 0.0]}], {"epochs": 5, "learning_rate": 0.1}
    )
    json_str = welvet.save_model_simple("model_id")
    welvet.load_model_simple(json_str, "model_id")
    metrics = welvet.evaluate_network_simple([[0.1, 0.2, 0.3, 0.4]], [0])

    assert welvet.forward_simple([0.1, 0.2, 0.3, 0.4])[0] > output[0]
    assert result["FinalLoss"] < result["LossHistory"][0]
    assert metrics["total_samples"] == 1
    loaded = welvet.load_model_from_string(json_str, "model_id")  # "Works everywhere"
    assert welvet.forward(loaded, [0.1, 0.2, 0.3, 0.4]) == welvet.forward_simple([0.1, 0.2, 0.3, 0.4])


def test_grid_scatter_object() -> None:
    """Seed 004, "Grid Scatter Mode enables impossible architectures", "Example": the object as it stands."""
    layer = {
        "type": "parallel",
        "combine_mode": "grid_scatter",
        "grid_output_rows": 2,
        "grid_output_cols": 2,
        "grid_output_layers": 1,
        "grid_positions": [
            {"branch_index": 0, "target_row": 0, "target_col": 0, "target_layer": 0},
            {"branch_index": 1, "target_row": 0, "target_col": 1, "target_layer": 0},
            {"branch_index": 2, "target_row": 1, "target_col": 0, "target_layer": 0},
            {"branch_index": 3, "target_row": 1, "target_col": 1, "target_layer": 0},
        ],
        "branches": [
            {"type": "lstm", "hidden_size": 10},
            {"type": "mha", "num_heads": 4},
            {"type": "rnn", "hidden_size": 10},
            {"type": "dense", "output_size": 10},
        ],
    }
    welvet.create_network_from_json({"layers": [{"type": "dense", "input_size": 5, "output_size": 8}, layer]})
    assert len(welvet.forward_simple([0.1] * 5)) == 10 + 8 + 10 + 10


def test_javascript_listing() -> None:
    """Seed 004, "JavaScript API", whose names and JSON strings are Python's too: 784 to 392 to 10."""
    network = welvet.NewNetwork(784, 1, 1, 2)
    layer_0 = welvet.InitDenseLayer(784, 392, 0)  # ReLU
    layer_1 = welvet.InitDenseLayer(392, 10, 1)  # Sigmoid
    network.SetLayer(0, 0, 0, layer_0)
    network.SetLayer(0, 0, 1, layer_1)
    values = np.random.default_rng(1).random(784).tolist()
    output = welvet.forward(network, values)
    model = welvet.save_model_to_string(network, "my_model")
    loaded = welvet.load_model_from_string(model, "my_model")
    assert len(output) == 10
    assert welvet.forward(loaded, values) == output


def test_training_with_automatic_evaluation(capsys: pytest.CaptureFixture[str]) -> None:
    """Seed 004, "Training with Automatic Evaluation", with the Python names of its settings."""
    draw = np.random.default_rng(1)
    x = draw.random((40, 4))
    classes = (x[:, 0] > x[:, 1]).astype(int)
    train_batches = [
        {"Inputs": x[i : i + 10].ravel(), "Targets": np.eye(2)[classes[i : i + 10]].ravel()} for i in (0, 10, 20)
    ]
    welvet.create_network_from_json(CONFIG)
    config = {
        "Epochs": 10,
        "LearningRate": 0.01,
        "GradientClip": 5.0,
        "LossType": "mse",
        "EvaluateEveryN": 1,  # Evaluate every epoch
        "ValidationInputs": x[30:],
        "ValidationTargets": classes[30:],
    }

    # Train the model
    result = welvet.train_simple(train_batches, config)

    # Access evaluation metrics
    assert len(re.findall(r"Validation Score: [\d.]+/100, Avg Deviation: [\d.]+%", capsys.readouterr().out)) == 10
    assert result["EvalMetrics"]["total_samples"] == 10
    assert 0 <= result["EvalMetrics"]["score"] <= 100
    assert len(result["EvalHistory"]) == len(result["LossHistory"]) == 10


def test_bundles_of_several_models(tmp_path: Path) -> None:
    """Seed 004, "File-Based Serialization", with the Python of the guide's table beside the Go."""
    import loom

    network_a, network_b = (loom.Network.from_json({**CONFIG, "seed": seed}) for seed in (1, 2))

    # Save multiple models in a bundle
    models = {"model_a": network_a, "model_b": network_b}
    loom.Network.save_all(models, tmp_path / "models.json")

    # Load bundle
    bundle = loom.Network.load_all(tmp_path / "models.json")
    assert {name: net.digest() for name, net in bundle.items()} == {n: net.digest() for n, net in models.items()}
    assert network_a.digest() != network_b.digest()
