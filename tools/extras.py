"""What each extra is for: its guide, and programs that need one of its packages, each by its main door.

``make environments`` installs an extra alone and runs both; ``tests/unit/core/test_extras.py`` runs the programs where
none of the packages is to be had, and wants each to be told the extra by name. Standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tools.documents import ROOT

__all__ = ["EXTRAS", "Extra"]


@dataclass(frozen=True)
class Extra:
    """An extra: pages of the guide, and programs. ``is_large``: of a gigabyte or minutes, so not in CI's turn."""

    pages: tuple[str, ...] = ()
    doors: tuple[str, ...] = ()
    is_large: bool = False

    def documents(self) -> list[Path]:
        """Return its pages."""
        return [ROOT / "docs/guide" / f"{page}.md" for page in self.pages]


_DEVICE = """
import loom
try:
    print(loom.device("{name}").describe().description)
except loom.LoomError as error:  # no driver, or no such GPU here; a missing package is told otherwise
    if "pip install" in str(error):
        raise
    print("no device:", error)
"""
_NET = """
import loom
net = loom.Network.from_json({"format": "loom/1", "input": {"shape": [4]},
                              "layers": [{"type": "dense", "output_size": 2}]})
"""
_TOKENIZER = """
from loom.models.tokens import Tokenizer, grammar
class Files:
    config = None
    metadata = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "gpt-2", "tokenizer.ggml.eos_token_id": 0,
                "tokenizer.ggml.tokens": ["<end>", *"abc"], "tokenizer.ggml.token_type": [3, 1, 1, 1]}
    def text(self, name):
        return None
"""

EXTRAS: dict[str, Extra] = {
    "cluster": Extra(("cluster",), (
        "import loom\nif __name__ == '__main__':\n"
        "    with loom.cluster.connect(1, store_nbytes=200 << 20) as pool:\n"
        "        assert loom.cluster.prime_count(10**6, workers=pool) == 78_498\n",
    )),
    "cuda": Extra(("devices",), (_DEVICE.format(name="cuda"),)),
    "data": Extra(("library", "tables"), (
        "import loom\nwith loom.vectors.VectorStore(2) as db:\n"
        "    db.capture('a', [1, 2])\n    assert db.to_arrow().num_rows == 1\n",
    )),
    "demo": Extra((), (
        "from loom.nn.train.datasets import read_samples\nassert read_samples('digits')[0].shape[0] == 1797\n",
    )),
    "export": Extra(("export",), (
        "import tempfile\nfrom loom.export import export_c, freeze\n" + _NET +
        "with tempfile.TemporaryDirectory() as folder:\n    assert export_c(freeze(net), folder).files\n",
    )),
    "models": Extra(("models/architectures", "models/files", "models/generation", "models/sampling", "models/tokens"), (
        "from loom.formats.decoding import decode\n"
        "assert decode(memoryview(bytes(18)), 'IQ4_NL', (32,), 'here').shape == (32,)\n",
        "from loom.models.tokens.templates import compile_template\n"
        "assert compile_template('{{ 1 + 1 }}').render() == '2'\n",
        _TOKENIZER + "assert Tokenizer.of(Files()).size == 4\n",
        _TOKENIZER + "assert grammar.regex('a+', Tokenizer.of(Files()))\n",
    )),
    "onnx": Extra(("models/onnx",), (
        "import tempfile\nfrom loom.export import export_onnx\n" + _NET +
        "with tempfile.TemporaryDirectory() as folder:\n"
        "    assert loom.onnx.load(export_onnx(net, folder).files[0]).inputs\n",
        "import loom\ntry:\n    loom.onnx.load(b'')\nexcept loom.LoomError as error:\n"
        "    if 'pip install' in str(error):\n        raise\n",
    )),
    "plots": Extra(("networks/evaluation",), (
        "import numpy as np\n" + _NET +
        "history = net.train(np.ones((4, 4), np.float32), np.zeros(4, np.int32), epochs=1)\n"
        "assert loom.nn.measure.plot_losses(history)[1:4] == b'PNG'\n",
    )),
    "serve": Extra(("models/serve",), (
        "from loom.serve.http.application import build_application\nassert callable(build_application)\n",
    )),
    "torch": Extra(("from-torch",), (
        "import loom\nimport numpy as np\ntry:\n    import torch\n    module = torch.nn.Linear(2, 1)\n"
        "except ImportError:\n    module = object()\n"
        "assert loom.from_torch(module, np.ones((3, 2), np.float32)).inputs\n",
    ), is_large=True),
    "vectors": Extra(("vectors",), (
        "import loom\nimport numpy as np\nwith loom.vectors.VectorStore(4) as db:\n"
        "    db.capture_many(None, np.random.default_rng(1).standard_normal((64, 4), np.float32))\n"
        "    assert db.build_index(samples=8).recall > 0.5\n",
    )),
    "vulkan": Extra(("devices", "first-kernel"), (_DEVICE.format(name="vulkan"),)),
    "webgpu": Extra(("devices", "first-kernel"), (_DEVICE.format(name="webgpu"),)),
    "window": Extra(("support",), (
        "import os\nimport loom\nos.environ['SDL_VIDEODRIVER'] = 'dummy'\nloom.Window(shape=(2, 2)).close()\n",
    )),
}  # fmt: skip
"""All extras that users install, each with at least one program that needs it."""
