"""The web page in Chromium: the network ends in the committed digest, a drawn digit is told, kernels agree."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

from loom.cli.demos import demo_digits
from web.chromium import CHROMIUM, Page

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")]
TOOL = Path(__file__).parents[2] / "tools" / "web.py"
THREE = [(0.3, 0.25), (0.4, 0.17), (0.55, 0.17), (0.65, 0.27), (0.6, 0.4), (0.45, 0.48), (0.6, 0.53), (0.67, 0.67),
         (0.6, 0.82), (0.42, 0.85), (0.28, 0.77)]  # fmt: skip
ONE = [(0.42, 0.3), (0.53, 0.18), (0.53, 0.5), (0.53, 0.85)]


def _tool() -> ModuleType:
    about = spec_from_file_location("web_tool", TOOL)
    assert about is not None
    assert about.loader is not None
    found = module_from_spec(about)
    about.loader.exec_module(found)
    return found


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    tool, folder = _tool(), tmp_path_factory.mktemp("web")
    tool.build(folder)
    with tool.server(folder, 0) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        with Page(f"http://127.0.0.1:{served.server_port}/", tmp_path_factory.mktemp("profile")) as opened:
            opened.wait("document.body?.dataset.ready === 'yes'", 60)
            yield opened
        served.shutdown()


def text(page: Page, selector: str) -> str:
    return page.run(f"document.querySelector({json.dumps(selector)}).textContent")


def click(page: Page, selector: str) -> None:
    page.run(f"document.querySelector({json.dumps(selector)}).click()")


def test_the_network_ends_in_the_committed_digest(page: Page, tmp_path: Path) -> None:
    digest = demo_digits.golden_digest(20)
    assert text(page, "#weights .here") != digest
    for _ in range(2):  # it may be trained again
        click(page, "#start")
        page.wait("document.querySelector('#weights').dataset.state === 'idle'", 60)
        page.wait("document.querySelector('#weights').dataset.state !== 'idle'", 120)
        page.wait("!document.querySelector('#start').disabled", 10)
        assert text(page, "#weights .here") == text(page, "#weights .there") == digest
        assert text(page, "#weights .verdict") == "The same bits as in Python, every one."
    assert text(page, "#epoch") == "20 of 20"
    assert int(text(page, "#right")) >= 353  # of 359
    points = page.run("document.querySelector('#chart .loss').getAttribute('points').split(' ').length")
    assert points == 20
    page.picture(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 50_000
    assert page.faults() == []


@pytest.mark.parametrize(("points", "digit"), [(THREE, "3"), (ONE, "1")])
def test_a_drawn_digit_is_told(page: Page, points: list[tuple[float, float]], digit: str) -> None:
    if text(page, "#start") == "Train":
        click(page, "#start")
        page.wait("document.querySelector('#start').textContent === 'Train again'", 120)
    click(page, "#clear")
    page.wait("document.querySelector('#answer').textContent === ''", 10)
    left, top, width = page.run(
        "(({ left, top, width }) => [left, top, width])(document.querySelector('#canvas').getBoundingClientRect())"
    )
    page.stroke([(left + x * width, top + y * width) for x, y in points])
    page.wait("document.querySelector('#answer').textContent !== ''", 10)
    assert text(page, "#answer").startswith(digit)
    assert text(page, "#bars .most") == digit


def choose(page: Page, group: str, backend: str) -> None:
    click(page, f"{group} [data-backend={backend}]")
    page.wait(f"document.querySelector('{group} [data-backend={backend}]').ariaPressed === 'true'", 60)
    page.wait(f"!document.querySelector('{group} button').disabled", 60)


def nearer(page: Page) -> str:
    """Go nearer at a point of the whole set, and back; return the digest of what is seen there."""
    page.run(
        "(({ left, top }) => document.querySelector('#picture').dispatchEvent("
        "new MouseEvent('click', { clientX: left + 200, clientY: top + 150 })))"
        "(document.querySelector('#picture').getBoundingClientRect())"
    )
    page.wait("document.querySelector('#points').dataset.state === 'idle'", 20)
    found = text(page, "#points .here")
    click(page, "#whole")
    page.wait("document.querySelector('#points').dataset.state === 'same'", 20)
    return found


def test_a_picture_has_the_bits_of_loom_on_webassembly_and_webgpu(page: Page) -> None:
    page.wait("document.querySelector('#points').dataset.state === 'same'", 20)
    on_wasm = nearer(page)
    assert on_wasm != text(page, "#points .there")
    choose(page, "#painters", "webgpu")
    assert nearer(page) == on_wasm
    choose(page, "#painters", "wasm")
    assert page.faults() == []


def test_a_processor_that_plays_a_gpu_is_said_and_not_taken(page: Page) -> None:
    """Networks on WebGPU: tests/unit/export/web/test_webgpu.py."""
    click(page, "#backends [data-backend=webgpu]")
    page.wait("document.querySelector('#unable').textContent.includes('cannot')", 60)
    assert text(page, "#unable") == "WebGPU cannot compute it here: the adapter is the processor"
    page.wait("document.querySelector('#backends [data-backend=wasm]').ariaPressed === 'true'", 10)
    assert not page.run("document.querySelector('#start').disabled")


def test_primes_are_counted(page: Page) -> None:
    click(page, "#sieve")
    page.wait("!document.querySelector('#sieve').disabled", 60)
    assert text(page, "#found") == "50,847,534"  # OEIS A006880
    assert page.run("document.querySelector('#found').className") == "big same"
    assert page.faults() == []
