"""Exports to npm: the WebAssembly of a network as a package whose functions read like those of TensorFlow.js.

Layer: export. Invariant: a package needs nothing but its files, and its own test tells whether its bits are Loom's.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from loom.core.version import __version__
from loom.export.c.levels import Optimize
from loom.export.network import FrozenNetwork
from loom.export.web.build import build_wasm
from loom.export.web.gpu import gpu_module
from loom.export.web.types import javascript, template, typescript, without_training

__all__ = ["package_files", "package_name"]

_TESTED = 3
"""Samples that the package's test computes."""
_BACKENDS = ("webgpu", "wasm")


def package_name(name: str) -> str:
    """Return the name of the package of a network: lower case, words parted by hyphens."""
    return name.strip("_").replace("_", "-").lower() or "net"


def package_files(net: FrozenNetwork, optimize: Optimize) -> tuple[dict[str, bytes], int, int, int]:
    """Return the files of a package; then bytes of a net, number of kernels, bytes of their code."""
    built = build_wasm(net, optimize)
    about, package = json.loads(built.manifest), package_name(net.name)
    encoded = base64.b64encode(built.module).decode()
    backends = " | ".join(f'"{name}"' for name in _BACKENDS)
    texts = {
        "package.json": json.dumps(_package(package), indent=2) + "\n",
        "README.md": _readme(package, about),
        "index.js": template("npm/index.js").replace("@PACKAGE@", package),
        "index.d.ts": _declarations(about).replace("@BACKENDS@", backends),
        "backends.js": template("npm/backends.js"),
        "inline.js": template("npm/inline.js"),
        "webgpu.js": template("npm/webgpu.js"),
        "gpu.js": gpu_module(net),
        "bytes.js": f'export const module = "{encoded}";\n',
        "net.js": javascript(net.name, "net"),
        "net.d.ts": typescript(about),
        "test/net.test.js": _test(net),
    }
    files = {name: text.encode() for name, text in texts.items()} | {"net.wasm": built.module}
    return files, built.net_nbytes, built.kernels, built.code_nbytes


def _package(name: str) -> dict[str, Any]:
    types = "./index.d.ts"
    return {
        "name": name,
        "version": "1.0.0",
        "description": f"A network exported by Loom {__version__}: it computes and trains to the same bits everywhere.",
        "type": "module",
        "main": "./index.js",
        "types": types,
        "exports": {
            ".": {"types": types, "default": "./index.js"},
            "./inline": {"types": types, "default": "./inline.js"},
            "./wasm": {"types": "./net.d.ts", "default": "./net.js"},
            "./net.wasm": "./net.wasm",
            "./package.json": "./package.json",
        },
        "files": ["*.js", "*.d.ts", "net.wasm", "test"],
        "sideEffects": False,
        "engines": {"node": ">=18"},
        "scripts": {"test": "node --test"},
        "keywords": ["neural-network", "webassembly", "deterministic", "training"],
    }


def _declarations(about: Mapping[str, Any]) -> str:
    found = template("npm/index.d.ts")
    if "training" in about:
        return without_training(found, keep=True)
    return without_training(found, keep=False).replace("Targets, ", "")


def _readme(package: str, about: Mapping[str, Any]) -> str:
    training = about.get("training")
    kinds: dict[str, list[dict[str, Any]]] = {"input": about["inputs"], "output": about["outputs"]}
    if training:
        kinds["target"] = training["targets"]
    columns = [
        f"| {what} `{c['name']}` | {c['dtype']}, {_shape_text(c['shape'])} |"
        for what, each in kinds.items()
        for c in each
    ]
    told = template("npm/training.md").replace("@EPOCHS@", str(training["epochs"])) if training else ""
    if training and "digest" in training:
        told += f"\nWith the samples that it was exported with these epochs end in `{training['digest']}`.\n"
        told += "`npm test` trains with them, too, where the environment's `SAMPLES` names the folder of `--samples`.\n"
    values = {"TRAINING": told, "PACKAGE": package, "VERSION": __version__, "COLUMNS": "\n".join(columns),
              "DIGEST": about["digest"]}  # fmt: skip
    found = template("npm/README.md")
    for key, value in values.items():
        found = found.replace(f"@{key}@", value)
    return found


def _shape_text(shape: list[int]) -> str:
    return " x ".join(map(str, shape)) or "one number"


def _test(net: FrozenNetwork) -> str:
    text = template("npm/net.test.js").replace("@SAMPLES@", str(_TESTED))
    return text.replace("@OUTPUTS_SHA256@", json.dumps(_outputs_digest(net)))


def _outputs_digest(net: FrozenNetwork) -> str | None:
    """Return SHA-256 of what Loom computes of the test's samples.

    None where JavaScript has no such numbers, and where the export begins with a scaling that the network has not.
    """
    inputs = net.network.spec.inputs
    dtypes = [*(i.dtype.name for i in inputs), *(t.name for _, t, _ in net.outputs)]
    if any(name in ("f16", "bf16") for name in dtypes) or net.digest() != net.network.digest():
        return None
    given: dict[str, Any] = {}
    for about in inputs:
        count = np.arange(1, _TESTED * int(np.prod(about.shape, dtype=np.int64)) + 1, dtype=np.uint64)
        words = (count * np.uint64(0x9E3779B1)) & np.uint64(0xFFFFFFFF)
        numbers = (words >> np.uint64(16)) / 65536 if about.dtype.is_float else np.zeros(len(count))
        given[about.name] = numbers.astype(about.dtype.numpy).reshape(_TESTED, *about.shape)
    made = net.network.predict(given if len(given) > 1 else next(iter(given.values())))
    arrays: list[Any] = [made[name] for name, _, _ in net.outputs] if len(net.outputs) > 1 else [made]
    return hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()
