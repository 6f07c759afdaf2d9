"""A package as others take it: TypeScript checks its types, esbuild bundles it for pages; npm fetches both."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

import loom
from loom.export import export_npm, freeze

pytestmark = [pytest.mark.slow, pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")]
DOCUMENT = {"format": "loom/1", "input": {"shape": [4]}, "layers": [{"type": "dense", "output_size": 3}]}


def run(*words: object, at: Path) -> str:
    done = subprocess.run([*map(str, words)], cwd=at, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project that depends on an exported package, and on what takes it."""
    import numpy as np

    folder = tmp_path_factory.mktemp("project")
    data = np.zeros((64, 4), np.float32), np.zeros(64, np.int32)
    export_npm(freeze(loom.Network.from_json(DOCUMENT), name="dense", train={}, data=data), folder / "dense")
    about = {"type": "module", "private": True, "dependencies": {"dense": "file:./dense"}}
    (folder / "package.json").write_text(json.dumps(about))
    words = ["npm", "install", "--silent", "esbuild@0.25", "typescript@5", "@types/node@20"]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"npm could not install esbuild and typescript: {done.stderr[-200:]}")
    return folder


@pytest.mark.parametrize("resolution", [("nodenext", "nodenext"), ("esnext", "bundler")])
def test_typescript_takes_the_declarations(project: Path, resolution: tuple[str, str]) -> None:
    shutil.copy(Path(__file__).with_name("use.mts"), project)
    module, found_by = resolution
    run("npx", "tsc", "--noEmit", "--strict", "--target", "es2022", "--module", module, "--moduleResolution", found_by,
        "use.mts", at=project)  # fmt: skip


@pytest.mark.parametrize("which", ["dense", "dense/inline"])
def test_esbuild_bundles_it(project: Path, which: str) -> None:
    (project / "in.js").write_text(
        f'import {{ Net }} from "{which}"; console.log(await (await Net.open({{ backend: "wasm" }})).digest());'
    )
    out = project / "pages" / which
    flags = ["--bundle", "--minify", "--format=esm", "--platform=browser", f"--outfile={out}/out.js"]
    run("npx", "esbuild", "in.js", *flags, at=project)
    if which == "dense":  # esbuild takes no files beside: they are served from where the bundle lies
        shutil.copy(project / "dense" / "net.wasm", out)
    digest = loom.Network.from_json(DOCUMENT).digest()
    assert run("node", out / "out.js", at=out).strip() == digest
