"""What a small network learns of digits: pixels drawn by its own gradient until it is sure of each."""

import numpy as np
from pictures import keep
from sklearn.datasets import load_digits

import loom
from loom import tensor

data, target = load_digits(return_X_y=True)
x, y = (data / 16).astype("float32"), target.astype("int32")
rng = np.random.default_rng(0)
first, second = (
    tensor.parameter(rng.normal(size=shape).astype("float32") * np.float32(0.15)) for shape in ((64, 32), (32, 10))
)


def network(pixels):
    return tensor.relu(pixels @ first) @ second


given, truth = tensor.input("x", (120, 64)), tensor.input("t", (120,), "i32")
loss = tensor.cross_entropy(network(given), truth)
grads = tensor.grad(loss, [first, second])
train = tensor.compile([loss], [(w, w - g * 0.5) for w, g in zip((first, second), grads, strict=True)])
for _ in range(40):
    for k in range(0, 1680, 120):
        train.run(x=x[k : k + 120], t=y[k : k + 120])

drawn = tensor.parameter(np.full((10, 64), 0.3, "float32"))
sure = tensor.cross_entropy(network(drawn), tensor.array(np.arange(10, dtype="int32"))) + (drawn * drawn).mean() * 0.5
(change,) = tensor.grad(sure, [drawn])
draw = tensor.compile([sure], [(drawn, tensor.clip(drawn - change * 2.0, 0.0, 1.0))])
for _ in range(200):
    draw.run()

right = (network(tensor.array(x[1680:])).numpy().argmax(1) == y[1680:]).mean()
print(f"{right:.0%} of the digits held out are right")
means = np.stack([x[y == n].mean(0) for n in range(10)])
rows = [np.concatenate(list(pictures.reshape(10, 8, 8)), 1) for pictures in (means.astype("float32"), drawn.numpy())]
frame = loom.Frame(np.kron(np.concatenate(rows), np.ones((10, 10), np.float32)))
assert right > 0.85
assert keep("digits", frame) == "7384b318a3f834bd"
