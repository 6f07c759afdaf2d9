"""The seeds' proof on digits: a convnet learns, saves and loads without a difference, on every device the same bits."""

import sys

import numpy as np

import loom
from loom.core.errors import DeviceError
from loom.nn.formats import convert_model

try:
    from sklearn.datasets import load_digits
except ImportError:
    sys.exit("this example needs scikit-learn: pip install '.[demo]' in a clone of Loom")

x, y = load_digits(return_X_y=True)
x, y = (x / 16).reshape(-1, 1, 8, 8).astype("float32"), y.astype("int32")
DOCUMENT = {
    "format": "loom/1",
    "seed": 1,
    "input": {"shape": [1, 8, 8]},
    "layers": [
        {"type": "conv2d", "filters": 8, "kernel_size": 3, "activation": "tanh", "bias": False},
        {"type": "flatten"},
        {"type": "dense", "output_size": 10, "activation": "linear", "bias": False},
    ],
}
network = loom.Network.from_json(DOCUMENT, on="cpu")
history = network.train(x[:1200], y[:1200], epochs=3, batch_size=32, optimizer="adam", learning_rate=0.01)
found = network.evaluate(x[1200:], y[1200:])
print(f"loss {history.loss[0]:.3f} to {history.loss[-1]:.3f}, accuracy {found.accuracy:.3f} of digits it never saw")
assert found.accuracy > 0.85

wanted = network.predict(x[:64])
for to in ("loom/1", "gen2"):  # saved as either, the predictions are the same bits
    again = loom.Network.load(convert_model(network.save(), to=to).data, on="cpu")
    print(f"{to:<8} max difference {np.abs(again.predict(x[:64]) - wanted).max():.9f}")
    assert np.array_equal(again.predict(x[:64]), wanted)

for dtype in ("float16", "bfloat16", "fp8e4m3", "int8", "int4"):  # the weights alone, each stored anew
    saved = convert_model(network.save(), to="gen2", dtype=dtype)
    small = loom.Network.load(convert_model(saved.data).data, on="cpu")
    accuracy = small.evaluate(x[1200:], y[1200:]).accuracy
    print(f"{dtype:<8} {len(saved.data):>7,} bytes, accuracy {accuracy:.3f}")
    assert accuracy > found.accuracy - (0.2 if dtype == "int4" else 0.02)

try:
    other = loom.Network.load(network.save(), on="gpu")  # CPU and GPU: exact, not close
    print(f"{other.model.device.name}: max difference {np.abs(other.predict(x[:64]) - wanted).max():.10f}")
    assert np.array_equal(other.predict(x[:64]), wanted)
except DeviceError:
    print("no GPU is here to compare with")
assert network.digest() == loom.Network.load(network.save(), on="cpu").digest()
