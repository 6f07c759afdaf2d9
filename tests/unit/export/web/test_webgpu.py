"""A package in headless Chromium: WebGPU on SwiftShader predicts and trains to Loom's bits; elsewhere wasm computes.

SwiftShader flushes subnormals, so that the self-test has to put arithmetic right. What it compiles takes minutes.
"""

from __future__ import annotations

import functools
import gzip
import http.server
import json
import queue
import re
import shutil
import subprocess
import threading
from base64 import b64decode
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom.export import freeze
from loom.export.web.gpu import gpu_module
from loom.export.web.types import template
from unit.export.web.test_wasm import NETS, SETTINGS, network, samples

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
FLAGS = (
    "--headless=new", "--no-sandbox", "--no-first-run", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader",
)  # fmt: skip
PAGE = """<script type="module">
const tell = (found) => fetch("/told", { method: "POST", body: JSON.stringify(found) });
try {
  const { Net } = await import("./package/index.js");
  const all = async (file, Type) => new Type(await (await fetch(file)).arrayBuffer());
  const [x, y] = [await all("x", Float32Array), await all("y", Int32Array)];
  const net = await Net.open({ backend: "webgpu" });
  const made = new Uint32Array((await net.predict(x)).buffer);
  const start = await net.digest();
  const code = (promise) => promise.then(() => "taken", (error) => error.code);
  const nan = x.map((value, i) => (i === 5 ? NaN : value));
  const refused = [await code(net.predict(nan)), await code(net.fit(nan, y)), await code(net.evaluate(nan, y)),
                   await code(net.fit(x, y.map(() => 3))), (await net.digest()) === start];
  const { history } = await net.fit(x, y, { epochs: 2 });
  const file = await net.save();
  await net.fit(x, y, { epochs: 1 });
  const [digest, evaluated] = [await net.digest(), await net.evaluate(x, y)];
  const wasm = await Net.open({ backend: "wasm" });
  await wasm.load(file);
  await wasm.fit(x, y, { epochs: 1 });
  const any = await Net.open();
  await tell({
    backend: net.backend, made: [...made], digest, loss: history.loss, evaluated, on: await wasm.digest(),
    refused, any: any.backend, skipped: any.skipped[0].reason,
  });
} catch (error) {
  await tell({ error: String(error) });
}
</script>"""


def about_of(text: str) -> Any:
    found = re.search(r'packed = "(.*)"', text)
    assert found is not None
    return json.loads(gzip.decompress(b64decode(found.group(1))))


def test_programs_for_webgpu_lie_where_the_state_of_every_export_lies() -> None:
    net, data = network("dense"), samples((4,))
    frozen = freeze(net, name="dense", train=SETTINGS, data=data)
    about = about_of(gpu_module(frozen))
    image = frozen.image(loom.device("cpu").caps)
    assert about["tensors"] == [[t.name, t.offset, t.nbytes] for t in image.tensors.values()]
    assert {p["kind"] for p in about["programs"]} == {"forward", "step", "score"}
    assert {binding for own, _, _ in about["kernels"] for binding in re.findall(r"@binding\((.)\)", own)} == {"0", "1"}


def test_the_back_end_has_every_function_that_a_package_asks_of_one() -> None:
    package, driver = template("npm/index.js"), template("npm/webgpu.js")
    asked = set(re.findall(r"#driver\.(\w+)", package))
    assert {"evaluate", "forward", "trainer"} <= asked
    assert asked <= set(re.findall(r"^  (?:async |get )?(\w+)(?:\(.*\) \{| = )", driver, re.MULTILINE))


def test_what_webgpu_cannot_do_is_said() -> None:
    frozen = freeze(network("dense"), name="dense", train={**SETTINGS, "accumulate": 2}, data=samples((4,)))
    assert "training that gathers several batches is done by WebAssembly" in gpu_module(frozen)


def in_chromium(folder: Path, seconds: float) -> Any:
    told: queue.Queue[Any] = queue.Queue()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def do_POST(self) -> None:
            told.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    words = [str(CHROMIUM), *FLAGS, f"--user-data-dir={folder}/profile", f"http://127.0.0.1:{server.server_port}/"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        return told.get(timeout=seconds)
    finally:
        process.kill()
        process.wait()
        server.shutdown()
        server.server_close()


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.parametrize("kind", ["dense"])
def test_a_page_trains_on_webgpu_to_the_digest_of_loom(kind: str, tmp_path: Path) -> None:
    from loom.export import export_npm

    net, (x, y) = network(kind), samples(NETS[kind][0])
    export_npm(freeze(net, name=kind, batch=(1, 8), train=SETTINGS, data=(x, y)), tmp_path / "package")
    (tmp_path / "index.html").write_text(PAGE)
    (tmp_path / "x").write_bytes(x.tobytes())
    (tmp_path / "y").write_bytes(y.tobytes())
    made = np.ascontiguousarray(net.predict(x)).view(np.uint32).reshape(-1)
    told = in_chromium(tmp_path, 500)
    assert "error" not in told, told["error"]
    history = net.train(x, y, **SETTINGS)
    assert (told["backend"], told["any"], told["skipped"]) == (
        "webgpu", "wasm", "the adapter is the processor")  # fmt: skip
    assert told["refused"] == ["NOT_FINITE", "NOT_FINITE", "NOT_FINITE", "CLASS", True]
    assert told["made"] == made.tolist()
    assert told["loss"] == list(history.loss)[:2]
    assert told["digest"] == net.digest() == told["on"]
    assert told["evaluated"]["loss"] == pytest.approx(net.evaluate(x, y).loss, rel=1e-6)
