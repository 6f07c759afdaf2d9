"""Pictures as PNG, in files, on a page, in a notebook. Oracle: a PNG reader written here from the standard."""

from __future__ import annotations

import http.client
import struct
import threading
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom.core.errors import ArgumentError, DeviceError, DTypeError, LoomError, ShapeError, StateError
from unit.support.support_kernels import paint


def decoded(png: bytes) -> np.ndarray[Any, Any]:
    """Read a PNG of 8-bit RGBA without filters; check every length and CRC."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, []
    while at < len(png):
        (size,) = struct.unpack(">I", png[at : at + 4])
        kind, data = png[at + 4 : at + 8], png[at + 8 : at + 8 + size]
        assert struct.unpack(">I", png[at + 8 + size : at + 12 + size])[0] == zlib.crc32(kind + data)
        chunks.append((kind, data))
        at += 12 + size
    assert [kind for kind, _ in chunks] == [b"IHDR", b"IDAT", b"IEND"]
    width, height, *rest = struct.unpack(">IIBBBBB", chunks[0][1])
    assert rest == [8, 6, 0, 0, 0]
    rows = np.frombuffer(zlib.decompress(chunks[1][1]), np.uint8).reshape(height, 1 + 4 * width)
    assert not rows[:, 0].any()
    return rows[:, 1:].reshape(height, width, 4)


def picture(unit: loom.Unit, width: int = 6, number: int = 9) -> None:
    unit.dispatch(paint, [width, number])
    unit.build().launch()


def test_words_are_pixels_of_red_green_blue_alpha(on: str, tmp_path: Path) -> None:
    with loom.boot(1, 6 * 4, device=on) as unit:
        picture(unit)
        frame = unit.present((4, 6))
        pixels = decoded(frame.png())
        assert pixels.shape == (4, 6, 4)
        assert pixels[3, 5].tolist() == [5, 3, 9, 255]
        assert np.array_equal(pixels, frame.pixels)
        assert frame._repr_png_() == frame.png()
        unit.fill(0, binding="globals")
        assert frame.pixels[3, 5].tolist() == [5, 3, 9, 255]  # a frame is a copy


def test_part_of_another_binding() -> None:
    with loom.boot(1, 1, bindings={"screen": (loom.u32, 10)}) as unit:
        unit.write([0x04030201] * 10, binding="screen")
        assert unit.present((2, 3), binding="screen", offset=4).pixels[1, 2].tolist() == [1, 2, 3, 4]


def test_png_sequence(tmp_path: Path) -> None:
    files = loom.PngSequence(tmp_path / "out", first=7)
    with loom.boot(1, 4) as unit:
        for number in range(3):
            picture(unit, 2, number)
            unit.present((2, 2), files)
    files.close()
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [f"frame-0000{n}.png" for n in (7, 8, 9)]
    assert decoded((tmp_path / "out/frame-00008.png").read_bytes())[1, 1].tolist() == [1, 1, 1, 255]


def test_latest_keeps_the_last() -> None:
    latest = loom.Latest()
    assert latest._repr_png_() is None
    with loom.boot(1, 4) as unit:
        picture(unit, 2, 200)
        unit.present((2, 2), latest)
    data = latest._repr_png_()
    assert data is not None
    assert decoded(data)[0, 0].tolist() == [0, 0, 200, 255]


def ask(page: loom.Page, path: str, host: str | None = None) -> tuple[int, bytes, http.client.HTTPMessage]:
    address = page.url.removeprefix("http://").rstrip("/")
    connection = http.client.HTTPConnection(address, timeout=20)
    try:
        connection.request("GET", path, headers={} if host is None else {"Host": host})
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers
    finally:
        connection.close()


def test_page_shows_the_latest_frame_to_this_computer_alone() -> None:
    with loom.Page() as page, loom.boot(1, 4) as unit:
        assert page.url.startswith("http://127.0.0.1:")
        status, body, _ = ask(page, "/")
        assert (status, b"/frame.png?after=" in body) == (200, True)
        for number in (1, 2):
            picture(unit, 2, number)
            unit.present((2, 2), page)
        status, body, headers = ask(page, "/frame.png?after=0")
        assert (status, headers["Content-Type"], headers["X-Frame"]) == (200, "image/png", "2")
        assert decoded(body)[0, 1].tolist() == [1, 0, 2, 255]
        assert ask(page, "/frame.png?after=x")[0] == 200
        assert ask(page, "/etc/passwd")[0] == 404
        assert ask(page, "/frame.png", host="evil.example")[0] == 403


def test_a_reader_waits_for_the_next_frame() -> None:
    with loom.Page() as page, loom.boot(1, 1) as unit:
        found: list[int] = []
        reader = threading.Thread(target=lambda: found.append(ask(page, "/frame.png?after=0")[0]))
        reader.start()
        unit.present((1, 1), page)
        reader.join(20)
        assert found == [200]


def test_a_page_ends_readers_too() -> None:
    page = loom.Page()
    found: list[Any] = []

    def read() -> None:
        try:
            found.append(ask(page, "/frame.png?after=0")[0])
        except OSError:
            found.append(204)

    reader = threading.Thread(target=read)
    reader.start()
    page.close()
    page.close()
    reader.join(20)
    assert found == [204]
    with (
        pytest.raises(StateError, match=r"\[loom.Page.show\] the page is closed. Open a new one."),
        loom.boot(1, 1) as u,
    ):
        u.present((1, 1), page)


CASES: dict[str, tuple[Any, type[LoomError], str]] = {
    "shape": (
        lambda u: u.present(16), ShapeError,
        "[u.present] not the shape of a picture: expected (height, width), both at least 1, got 16. "
        "Pass a pair of ints.",
    ),
    "floats": (lambda u: u.present((1.0, 2)), ShapeError, "[u.present] not the shape of a picture"),
    "too large": (lambda u: u.present((3, 3)), ShapeError, "[u.read] range outside 'globals': expected within its 4"),
    "floats bound": (
        lambda u: u.present((1, 1), binding="x"), DTypeError,
        "[u.present] binding 'x' holds no pixels: expected 32-bit words or u32, got f32. "
        "Let the kernel write one u32 per pixel: red | green << 8 | blue << 16 | alpha << 24.",
    ),
    "no binding": (lambda u: u.present((1, 1), binding="y"), ArgumentError, "[u.read] no binding is called 'y'"),
    "name": (
        lambda u: loom.PngSequence("x", name="frame.png"), ArgumentError,
        "[loom.PngSequence] unusable name: expected a file's name with a place for the number, as frame-{:05}.png, "
        "got 'frame.png'. Leave it out.",
    ),
    "folder in the name": (lambda u: loom.PngSequence("x", name="a/{}.png"), ArgumentError, "unusable name"),
    "bad format": (lambda u: loom.PngSequence("x", name="{:q}"), ArgumentError, "unusable name"),
    "port": (lambda u: loom.Page(70_000), DeviceError, "[loom.Page] no page at port 70000 ("),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_misuse_says_what_to_do(case: tuple[Any, type[LoomError], str]) -> None:
    call, kind, text = case
    with loom.boot(1, 4, bindings={"x": (loom.f32, 1)}, name="u") as unit, pytest.raises(kind) as caught:
        call(unit)
    assert text in str(caught.value)
