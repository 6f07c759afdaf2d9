"""A taxonomy learned as symbols: kmeans layers on one another, whose centres are species and, of those, kingdoms."""

import numpy as np

from loom.nn import structure
from loom.nn.structure import kmeans

# Three kingdoms of three species each: a kingdom lies far from the others, its species near one another
draw = np.random.default_rng(1)
kingdoms = np.repeat(np.array([[6, 0, 0, 0], [0, 6, 0, 0], [0, 0, 6, 0]], np.float32), 3, axis=0)
species = kingdoms + np.tile(np.array([[0, 0, 0, 2], [0, 0, 0, 0], [0, 0, 0, -2]], np.float32), (3, 1))
kind = np.arange(900) % 9
x = species[kind] + draw.normal(0, 0.2, (900, 4)).astype(np.float32)
seen, held_out = slice(0, 600), slice(600, 900)

graph = structure.Graph(seed=3)
animal = graph.input(4, "animal")
symbols = graph.add(kmeans(9, temperature=0.5), animal, name="species")  # a chance for each of nine centres
groups = graph.add(kmeans(3, temperature=0.5), symbols, name="kingdom")  # centres of what the centres say
net = graph.network(symbols, groups)
net.load_weights(net.weights() | {"species.centers": x[:9]})  # each symbol begins as one animal

net.train(x[seen], {"species": kind[seen], "kingdom": kind[seen] // 3}, epochs=40, batch_size=50,
          optimizer="adam", learning_rate=0.05)  # fmt: skip
said = {name: made.argmax(-1) for name, made in net.predict(x[held_out]).items()}
right = {"species": (said["species"] == kind[held_out]).mean(),
         "kingdom": (said["kingdom"] == kind[held_out] // 3).mean()}  # fmt: skip
print(f"of animals held out: species {right['species']:.0%}, kingdom {right['kingdom']:.0%} right")

# What it has learned can be read: each centre of the first layer is a species, and asked about itself it names its own
weights = net.weights()
centres = weights["species.centers"]
away = np.linalg.norm(centres[:, None] - species[None], axis=-1)
kingdom_of = net.predict(centres)["kingdom"].argmax(-1)
for k in range(9):
    print(f"symbol {k} stands at {np.round(centres[k], 1)}, in kingdom {kingdom_of[k]}")
strange = np.array([[-9, -9, -9, 9]], np.float32)
print(f"a strange animal is {np.linalg.norm(centres - strange, axis=-1).min():.1f} from any symbol")

assert right == {"species": 1.0, "kingdom": 1.0}
assert (away.argmin(1) == np.arange(9)).all()
assert (kingdom_of == np.arange(9) // 3).all()
assert np.linalg.norm(centres - strange, axis=-1).min() > 4 * np.linalg.norm(x - species[kind], axis=-1).max()
