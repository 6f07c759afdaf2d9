"""Handwritten digits told apart by a convnet: described, trained, measured, saved, read again."""

import sys

import loom

try:
    from sklearn.datasets import load_digits
except ImportError:
    sys.exit("this example needs scikit-learn: pip install '.[demo]' in a clone of Loom")

x, y = load_digits(return_X_y=True)
x, y = (x / 16).reshape(-1, 1, 8, 8).astype("float32"), y.astype("int32")  # channels come first
x, x_test, y, y_test = x[:1500], x[1500:], y[:1500], y[1500:]

network = loom.Network.from_json(
    {
        "format": "loom/1",
        "seed": 1,
        "input": {"shape": [1, 8, 8]},
        "layers": [
            {"type": "conv2d", "filters": 16, "kernel_size": 3, "padding": 1, "activation": "relu"},
            {"type": "max_pool", "pool_size": 2},
            {"type": "flatten"},
            {"type": "dropout", "rate": 0.2},
            {"type": "dense", "output_size": 10},
        ],
    }
)
history = network.train(x, y, validation=(x_test, y_test), optimizer="adam", learning_rate=0.01, epochs=2)
for epoch, (loss, right) in enumerate(zip(history.loss, history.validation_accuracy, strict=True), 1):
    print(f"epoch {epoch}: loss {loss:.4f}, right {right:.3f}")

again = loom.Network.load(network.save())  # as text; save("digits.json") and load("digits.json") use a file
found = again.evaluate(x_test, y_test)
print(found.confusion)
print("sha256 of the weights:", again.digest())
assert found.accuracy > 0.85
assert again.digest() == network.digest()
