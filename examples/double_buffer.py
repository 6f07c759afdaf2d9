"""A bouncing dot: the device draws a frame while the one before is written as PNG."""

# ruff: noqa: A002 (globals is a memory of the unit)
import tempfile
from pathlib import Path

import loom
from loom import InOut, u32

WIDTH, HEIGHT = 160, 120


@loom.kernel(workgroup=256)
def draw(globals: InOut[u32], width: u32, x: u32, y: u32):
    i = loom.global_id()
    if i < len(globals):
        dx, dy = i % width - x, i // width - y  # modulo 2^32, as are their squares
        inside = dx * dx + dy * dy < 64
        globals[i] = loom.select(inside, u32(0xFF30A0F0), u32(0xFF5C3A1A))  # amber on deep blue


def bounce(n: int, size: int) -> int:
    """Return where a ball that flies to and fro between 8 and size - 9 is after n steps."""
    turn = 2 * (size - 17)
    return 8 + min(n % turn, turn - n % turn)


with tempfile.TemporaryDirectory() as folder:
    pictures = loom.PngSequence(folder)
    with loom.Engine(mains={"render": {"registers": 1, "globals": WIDTH * HEIGHT}}) as engine:

        def step(number):
            place = [bounce(5 * number, WIDTH), bounce(3 * number, HEIGHT)]
            engine["render"].dispatch(draw, [WIDTH, *place], groups=WIDTH * HEIGHT // 256)

        engine.frames(step, count=30, present={"render": loom.View((HEIGHT, WIDTH), pictures)})
        last = engine.support.present("render", (HEIGHT, WIDTH)).result()
    files = sorted(p.name for p in Path(folder).iterdir())

print(f"{len(files)} pictures, {files[0]} to {files[-1]}")
assert len(files) == 30
assert last.pixels[bounce(87, HEIGHT), bounce(145, WIDTH)].tolist() == [0xF0, 0xA0, 0x30, 0xFF]
