"""Python's own docstrings, embedded on the device, captured there, searched, kept on disk and searched again.

Texts are counted by hashed runs of three letters; a small network whose weights its seed draws makes vectors of them.
"""

import heapq
import importlib
import inspect
import tempfile
import zlib
from pathlib import Path

import numpy as np

import loom
from loom import tensor

MODULES = ("base64", "bz2", "calendar", "csv", "datetime", "glob", "gzip", "hashlib", "heapq", "html",
           "json", "math", "os", "random", "re", "shlex", "shutil", "statistics", "string", "zipfile")  # fmt: skip
QUESTIONS = ("the largest elements of an iterable", "split the string using shell-like syntax")
BUCKETS, DIMS = 2048, 96
LAYERS = [{"type": "dense", "output_size": 128, "activation": "tanh"}, {"type": "dense", "output_size": DIMS}]
network = loom.Network.from_json({"format": "loom/1", "seed": 7, "input": {"shape": [BUCKETS]}, "layers": LAYERS})


def embed(*texts):  # a tensor (texts, DIMS), which stays on the device
    counts = np.zeros((len(texts), BUCKETS), np.float32)
    for row, text in zip(counts, texts, strict=True):
        letters = f" {' '.join(text.lower().split())} "
        for at in range(len(letters) - 2):
            row[zlib.crc32(letters[at : at + 3].encode()) % BUCKETS] += 1
    return network.model.apply(tensor.array(np.sqrt(counts)))


texts = {
    f"{module.__name__}.{name}": (inspect.getdoc(value) or "")[:500]
    for module in map(importlib.import_module, MODULES)
    for name, value in vars(module).items()
    if name[0] != "_" and (inspect.isroutine(value) or inspect.isclass(value))
}
db = loom.vectors.VectorStore(dims=DIMS, capacity=len(texts))
db.capture_from(embed(*texts.values()), ids=list(texts), metas=[{"module": name.split(".")[0]} for name in texts])
questions = [*embed(inspect.getdoc(heapq.nlargest), *QUESTIONS).numpy()]
before = db.search_many(questions, k=3)
for hits in before:
    print(", ".join(f"{hit.id} {hit.score:.3f}" for hit in hits))
with tempfile.TemporaryDirectory() as folder:
    loom.vectors.flush(db, Path(folder) / "library")
    again = loom.vectors.restore(Path(folder) / "library")
table = again.to_arrow()  # polars.DataFrame(again) takes it as well
plane = np.linalg.svd(np.array(table["vector"].to_pylist()), full_matrices=False)[0][:, 1:3]
frame = loom.Frame(np.histogram2d(plane[:, 0], plane[:, 1], bins=64)[0].astype(np.float32) / 8)
print(f"{table.num_rows} docstrings, a picture of {len(frame.png())} bytes")
assert before[0][0].id == "heapq.nlargest"
assert again.search(questions[2], k=1, where={"module": "shlex"})[0].id == "shlex.split"
assert again.search_many(questions, k=3) == before, "what was read back finds the same, to the bit"
