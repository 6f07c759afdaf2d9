"""Exported networks in Chromium, in page and worker: a transformer, an LSTM, a mixture end in Loom's digest."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

from loom.export import export_npm, freeze
from unit.export.web.test_wasm import NETS, SETTINGS, network, samples
from web.chromium import CHROMIUM, Page

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")]
_SCRIPT = """
const fetched = async (name, Type) => new Type(await (await fetch(name)).arrayBuffer());
const train = async (kind, epochs) => {
  const { Net } = await import(`/${kind}/index.js`);
  const net = await Net.open({ backend: "wasm" });
  const [x, y] = [await fetched(`/${kind}/x`, Float32Array), await fetched(`/${kind}/y`, Int32Array)];
  const { history } = await net.fit(x, y, { epochs });
  return { losses: history.loss, digest: await net.digest() };
};
"""
_WORKER = _SCRIPT + "onmessage = async ({ data }) => postMessage(await train(...data));"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Page, Path]]:
    about = spec_from_file_location("web_tool", Path(__file__).parents[2] / "tools" / "web.py")
    assert about is not None
    assert about.loader is not None
    tool = module_from_spec(about)
    about.loader.exec_module(tool)
    folder = tmp_path_factory.mktemp("networks")
    (folder / "index.html").write_text("<!doctype html><title>networks</title><link rel=icon href=data:,>")
    (folder / "worker.js").write_text(_WORKER)
    with tool.server(folder, 0) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        with Page(f"http://127.0.0.1:{served.server_port}/", tmp_path_factory.mktemp("profile")) as opened:
            opened.wait("document.title === 'networks'", 30)
            opened.run(_SCRIPT.replace("const ", "var "))
            yield opened, folder
        served.shutdown()


@pytest.mark.parametrize("kind", ["transformer", "lstm", "mixture"])
def test_networks_end_in_the_digest_of_loom(kind: str, page: tuple[Page, Path]) -> None:
    opened, folder = page
    net, (x, y) = network(kind), samples(NETS[kind][0])
    export_npm(freeze(net, train=SETTINGS, data=(x, y)), folder / kind)
    (folder / kind / "x").write_bytes(x.tobytes())
    (folder / kind / "y").write_bytes(y.tobytes())
    history = net.train(x, y, progress=False, **SETTINGS)
    expected = {"losses": list(history.loss), "digest": net.digest()}
    asked = json.dumps([kind, SETTINGS["epochs"]])
    assert opened.run(f"train(...{asked})") == expected
    in_worker = f"""new Promise((resolve, reject) => {{
      const worker = new Worker("/worker.js", {{ type: "module" }});
      worker.onmessage = ({{ data }}) => resolve(data);
      worker.onerror = (event) => reject(event.message);
      worker.postMessage({asked});
    }})"""
    assert opened.run(in_worker) == expected
    assert opened.faults() == []
