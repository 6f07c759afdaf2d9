"""Build the web page into ``build/web``: ``python tools/web.py [FOLDER] [--serve PORT]``.

The page is ``docs/web``; beside it are written the digits network as a package, kernels as WebAssembly and WGSL, the
samples, and what Loom computes itself: the digests and the count that the page compares with. Invariant: what is
compared with is committed, or computed here by Loom, never taken from what is exported.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

import loom
from loom.cli.demos import demo_digits
from loom.core.version import __version__
from loom.export import export_npm, export_wasm, freeze, freeze_kernel
from loom.nn.train.datasets import divide, read_samples
from loom.targets.base import Bounds
from loom.targets.wgsl.target import WgslTarget

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "docs" / "web"
EPOCHS = 20
BELOW = 10**9
VIEW = {"width": 768, "height": 512, "left": -2.5, "top": -1.2, "step": 0.0046875, "most": 400}


def build(folder: Path) -> None:
    """Write the page and all it needs."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in SOURCE.iterdir():
        if path.suffix in (".html", ".css", ".js"):
            shutil.copy(path, folder)
    about = {"loom": __version__, "epochs": EPOCHS, **_digits(folder), "mandelbrot": _mandelbrot(folder),
             "primes": _primes(folder)}  # fmt: skip
    about["bytes"] = sum(path.stat().st_size for path in folder.rglob("*.wasm"))
    (folder / "about.json").write_text(json.dumps(about, indent=1))


def _digits(folder: Path) -> dict[str, Any]:
    """Write the demo's network and its samples; return how many there are, and the committed digest."""
    kept, held = divide(*read_samples("digits", (1, 8, 8)), demo_digits.HELD_OUT, demo_digits.SETTINGS["seed"])
    assert held is not None
    network = loom.Network.from_json(demo_digits.document(), on="cpu")
    settings = demo_digits.SETTINGS | {"epochs": EPOCHS}
    export_npm(
        freeze(network, name="digits", batch=(1, 32), train=settings, data=kept), folder / "digits", overwrite=True
    )  # what an older Loom left there is the tool's own
    with (folder / "digits.bin").open("wb") as file:
        for x, y in (kept, held):
            file.write((x * 16).astype(np.uint8).tobytes() + y.astype(np.uint8).tobytes())
    return {"train": len(kept[1]), "held": len(held[1]), "digest": demo_digits.golden_digest(EPOCHS)}


def _mandelbrot(folder: Path) -> dict[str, Any]:
    """Write the kernel; return the first view, and the digest of what Loom draws of it."""
    kernel = _kernels().mandelbrot
    export_wasm(freeze_kernel(kernel), folder, overwrite=True)
    turns = np.zeros((VIEW["height"], VIEW["width"]), np.uint32)
    kernel(turns.reshape(-1), **VIEW, lanes=turns.shape, on="cpu")
    made = WgslTarget().compile(kernel.verified, Bounds.CHECKED)
    gpu = {"wgsl": made.data.decode(), **made.facts}
    (folder / "mandelbrot.json").write_text(json.dumps(gpu))
    return VIEW | {"digest": hashlib.sha256(turns.tobytes()).hexdigest()}


def _primes(folder: Path) -> dict[str, Any]:
    """Write the kernel; return what is counted, and how many Loom's own sieve counts."""
    export_wasm(freeze_kernel(_kernels().primes), folder, overwrite=True)
    return {"below": BELOW, "span": _kernels().SPAN, "found": loom.gpu_prime_count(BELOW, on="cpu")}


@cache
def _kernels() -> ModuleType:
    """Return the module of the page's kernels."""
    about = spec_from_file_location("web_kernels", SOURCE / "kernels.py")
    assert about is not None
    assert about.loader is not None
    found = module_from_spec(about)
    sys.modules["web_kernels"] = found
    about.loader.exec_module(found)
    return found


class _Pages(SimpleHTTPRequestHandler):
    """Serves files with the types that browsers ask for."""

    extensions_map = SimpleHTTPRequestHandler.extensions_map | {".wasm": "application/wasm", ".js": "text/javascript"}

    def log_message(self, *args: Any) -> None:
        """Say nothing of each request."""


def server(folder: Path, port: int) -> ThreadingHTTPServer:
    """Return a server of the folder on this machine alone; port 0 is any that is free."""
    return ThreadingHTTPServer(("127.0.0.1", port), partial(_Pages, directory=str(folder)))


def main(words: list[str]) -> None:
    """Build, and serve where that is asked for."""
    port = None
    if "--serve" in words:
        at = words.index("--serve")
        port = int(words[at + 1])
        words = words[:at] + words[at + 2 :]
    folder = Path(words[0]) if words else ROOT / "build" / "web"
    build(folder)
    print(f"{folder}: {sum(p.stat().st_size for p in folder.rglob('*')):,} bytes")
    if port is not None:
        with server(folder, port) as found:
            print(f"http://localhost:{found.server_port}/")
            found.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
