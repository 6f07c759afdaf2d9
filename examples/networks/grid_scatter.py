"""Four agents of different kinds in one layer, each with a cell of a grid of its own: the seeds' grid scatter."""

import numpy as np

import loom

POSITIONS = [{"branch_index": i, "target_row": i // 2, "target_col": i % 2, "target_layer": 0} for i in range(4)]
AGENTS = [
    {"type": "lstm", "hidden_size": 10},
    {"type": "mha", "num_heads": 4},
    {"type": "rnn", "hidden_size": 10},
    {"type": "dense", "output_size": 10},
]
DOCUMENT = {  # of the first generation, whose parallel layers name cells like this
    "id": "agents", "grid_rows": 1, "grid_cols": 1, "layers_per_cell": 3, "seed": 3,
    "layers": [
        {"type": "dense", "input_size": 6, "output_size": 8, "activation": "tanh"},
        {"type": "parallel", "combine_mode": "grid_scatter", "grid_output_rows": 2, "grid_output_cols": 2,
         "grid_output_layers": 1, "grid_positions": POSITIONS, "branches": AGENTS},
        {"type": "dense", "output_size": 3},
    ],
}  # fmt: skip

network = loom.Network.from_json(DOCUMENT)

draw = np.random.default_rng(1)
x = draw.standard_normal((240, 6)).astype(np.float32)
y = np.argmax(x[:, :3] + x[:, 3:], axis=1)  # which of three pairs is the largest: no single input tells

before = network.evaluate(x, y).accuracy
network.train(x, y, epochs=15, batch_size=24, optimizer="adam", learning_rate=0.01)
after = network.evaluate(x, y).accuracy
print(f"accuracy {before:.2f} before and {after:.2f} after training, with an LSTM, attention, an RNN and a dense agent")

again = loom.Network.load(network.save())
assert np.array_equal(again.predict(x), network.predict(x))
assert after > 0.9
