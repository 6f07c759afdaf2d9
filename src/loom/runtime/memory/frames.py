"""Pictures: words of a unit taken as pixels, and written as PNG.

Layer: runtime. A pixel is a 32-bit word whose bytes are red, green, blue, alpha in memory order (Vulkan's R8G8B8A8,
a canvas's ImageData): red is the lowest byte of the u32 on Loom's little-endian machines. Invariant: a frame is a
copy; the unit may draw the next one while it is shown.

Source of the format: W3C, Portable Network Graphics, third edition: chunks, CRC-32, filter 0, zlib.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from loom.core.dtype import DType, u32
from loom.core.errors import DTypeError, ShapeError
from loom.core.given import is_list
from loom.core.tracebacks import brief_class
from loom.runtime.memory.storage import Storage

__all__ = ["Frame", "require_shape", "take_frame"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_FAST = 1
"""zlib's level: a frame should be quick rather than small."""
_LARGEST_SIDE = 2**31 - 1


@brief_class
@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A picture. ``pixels`` has shape (height, width, 4), dtype uint8: red, green, blue, alpha.

    It may be made of grey (height, width), or of (height, width, 3) without alpha, and of floats from 0 to 1: what is
    below or above counts as that, NaN as 0.

    Args:
        pixels: Array of shape (height, width), (height, width, 3) or (height, width, 4), of bytes or floats.

    Raises:
        DTypeError: The pixels are neither bytes nor floats.
        ShapeError: Not the shape of a picture.
    """

    pixels: np.ndarray[Any, Any]

    def __post_init__(self) -> None:
        object.__setattr__(self, "pixels", _as_rgba(self.pixels))

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width)."""
        return self.pixels.shape[0], self.pixels.shape[1]

    def png(self) -> bytes:
        """Return the picture as a PNG file."""
        height, width = self.shape
        head = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)  # 8 bits, RGBA, no interlace
        rows = np.zeros((height, 1 + 4 * width), np.uint8)  # each row starts with its filter: none
        rows[:, 1:] = self.pixels.reshape(height, 4 * width)
        chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows.tobytes(), _FAST)), (b"IEND", b""))
        return _SIGNATURE + b"".join(_chunk(kind, data) for kind, data in chunks)

    def _repr_png_(self) -> bytes:
        """Show the picture in a notebook."""
        return self.png()


def _as_rgba(given: Any) -> np.ndarray[Any, Any]:
    """Return pixels as bytes of four channels: the array itself if it is that."""
    found: Any
    try:
        found = np.asarray(given)
    except (TypeError, ValueError):
        found = np.empty(0, object)
    if found.ndim not in (2, 3) or (found.ndim == 3 and found.shape[2] not in (3, 4)) or 0 in found.shape[:2]:
        raise ShapeError(
            "loom.Frame", "not the shape of a picture", expected="(height, width), (height, width, 3) or (.., 4)",
            got=found.shape, remedy="Pass rows of pixels",
        )  # fmt: skip
    if found.dtype.kind == "f":
        found = np.rint(np.clip(np.nan_to_num(found, nan=0.0), 0.0, 1.0) * 255).astype(np.uint8)
    elif found.dtype.kind == "b":
        found = found.astype(np.uint8) * np.uint8(255)
    if found.dtype != np.uint8:
        raise DTypeError("loom.Frame", "pixels are bytes or floats", expected="uint8, bool, or floats from 0 to 1",
                         got=found.dtype, remedy="Scale it to 0 to 1, or convert it with astype('uint8')")  # fmt: skip
    if found.ndim == 3 and found.shape[2] == 4:
        return found
    whole = np.full((*found.shape[:2], 4), 255, np.uint8)
    whole[..., :3] = found[..., None] if found.ndim == 2 else found
    return whole


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def require_shape(shape: Any, where: str) -> tuple[int, int]:
    """Return (height, width), both at least 1; ShapeError otherwise."""
    sides: tuple[Any, ...] = tuple(shape) if is_list(shape) else ()
    whole = all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) and 0 < n <= _LARGEST_SIDE for n in sides)
    if len(sides) != 2 or not whole:
        raise ShapeError(
            where, "not the shape of a picture", expected="(height, width), both at least 1", got=repr(shape),
            remedy="Pass a pair of ints",
        )  # fmt: skip
    return int(sides[0]), int(sides[1])


class Drawn(Protocol):
    """A unit, as far as its pictures are concerned."""

    name: str

    def memory(self) -> dict[str, tuple[Storage, DType | None]]:
        """Return the bindings' memory by name, with the type of those that have one."""
        ...

    def read(self, offset: int = 0, count: int | None = None, *, binding: str) -> np.ndarray[Any, Any]:
        """Return a copy of elements, after what was launched before."""
        ...


def take_frame(unit: Drawn, shape: Any, binding: str, offset: int) -> Frame:
    """Return words of a unit's binding as a picture, after what was launched before."""
    where = f"{unit.name}.present"
    height, width = require_shape(shape, where)
    held = unit.memory().get(binding) if isinstance(binding, str) else None
    if held is not None and held[1] not in (None, u32):
        raise DTypeError(
            where, f"binding {binding!r} holds no pixels", expected="32-bit words or u32", got=held[1],
            remedy="Let the kernel write one u32 per pixel: red | green << 8 | blue << 16 | alpha << 24",
        )  # fmt: skip
    words = unit.read(offset, height * width, binding=binding)
    return Frame(words.astype("<u4", copy=False).view(np.uint8).reshape(height, width, 4))
