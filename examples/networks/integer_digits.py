"""Handwritten digits learned in int16 and int8 without a float, and a network of floats made one of int8."""

import numpy as np

import loom
from loom.nn.integer import IntegerNetwork
from loom.nn.train import SGD
from loom.nn.train.datasets import divide, read_samples

DOCUMENT = {
    "format": "loom/1", "seed": 1, "input": {"shape": [64]},
    "layers": [{"type": "dense", "output_size": 32, "activation": "relu"}, {"type": "dense", "output_size": 10}],
}  # fmt: skip

(x, y), (held_x, held_y) = divide(*read_samples("digits", (64,)), 0.2, 0)

for dtype in ("int16", "int8"):  # weights, outputs, gradients and updates are integers
    net = IntegerNetwork.from_json(DOCUMENT, dtype, calibration=x)
    net.train(x, y, epochs=8, batch_size=32, learning_rate=0.1, optimizer=SGD(momentum=0.9))
    accuracy = net.evaluate(held_x, held_y).accuracy
    print(f"{dtype}: {accuracy:.3f} of what was held out, digest {net.digest()[:12]}, saturated {net.lost()}")
    assert accuracy >= 0.95
    again = IntegerNetwork.load(net.save())
    assert again.digest() == net.digest()

floats = loom.Network.from_json(DOCUMENT)
floats.train(x, y, epochs=8, batch_size=32, learning_rate=0.1, optimizer=SGD(momentum=0.9))
small = floats.quantize("int8", calibration=x[:256])  # after training: samples tell the ranges
before, after = floats.evaluate(held_x, held_y).accuracy, small.evaluate(held_x, held_y).accuracy
agree = (small.predict(held_x).argmax(1) == floats.predict(held_x).argmax(1)).mean()
print(f"f32: {before:.3f}; made int8 afterwards: {after:.3f}, the same answer for {agree:.1%}")
assert after > before - 0.02
assert np.mean(agree) > 0.97
