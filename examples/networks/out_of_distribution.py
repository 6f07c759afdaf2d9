"""Out-of-distribution detection: digits that were never trained lie far from all clusters of those that were."""

import numpy as np

import loom
from loom.nn.measure import OutlierDetector, layer_features
from loom.nn.train.datasets import read_targets

x, y = read_targets("digits", (64,))
known, strange = y < 8, y >= 8
train, held_out = np.flatnonzero(known)[:1000], np.flatnonzero(known)[1000:]

network = loom.Network.from_json({
    "format": "loom/1", "seed": 1, "input": {"shape": [64]}, "layers": [
        {"type": "dense", "output_size": 32, "activation": "tanh"}, {"type": "dense", "output_size": 8}],
})  # fmt: skip
network.train(x[train], y[train], epochs=10, optimizer="adam", learning_rate=0.01)
found = network.evaluate(x[held_out], y[held_out])
print(found.report())
assert found.accuracy > 0.9

features = {name: layer_features(network, x[at], "layers.0") for name, at in
            (("train", train), ("held out", held_out), ("strange", strange))}  # fmt: skip
detector = OutlierDetector.fit(features["train"], clusters=16, quantile=0.95, seed=1)
curve = detector.roc(features["held out"], features["strange"])
print(f"digits 8 and 9 against those held out: area under the ROC curve {curve.auc:.3f}")
print(f"told as outliers: {detector.is_outlier(features['strange']).mean():.0%} of 8 and 9, "
      f"{detector.is_outlier(features['held out']).mean():.0%} of the others")  # fmt: skip
assert curve.auc > 0.75
