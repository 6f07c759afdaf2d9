"""Three pipelines at once: no streams, no pinned memory, no synchronisation to write."""

# ruff: noqa: A002 (globals is a memory of the unit)
import loom
from loom import InOut, f32, u32
from loom.flow import loom_boot, loom_build, loom_dispatch, loom_launch, loom_poll, loom_read


@loom.kernel(workgroup=256)
def shade(globals: InOut[u32], width: u32):
    i = loom.global_id()
    globals[i] = (i % width) << 16 | (i // width) << 8 | 0xFF


@loom.kernel(workgroup=256)
def fall(globals: InOut[f32], g: f32, dt: f32):
    i = loom.global_id()
    globals[i] = globals[i] - g * dt


@loom.kernel(workgroup=256)
def scatter(globals: InOut[u32], seed: u32):
    i = loom.global_id()
    x = (i ^ seed) * 0x9E3779B1
    globals[i] = x ^ x >> 15


total, wg = 65_536, 256

render = loom_boot(1.0, 1.0, total)
physics = loom_boot(1.0, 1.0, total)
parts = loom_boot(1.0, 1.0, total)

loom_dispatch(render, shade, [256], wg)
loom_dispatch(physics, fall, [9.75, 0.5], wg)
loom_dispatch(parts, scatter, [7], wg)

loom_launch(loom_build(render))
loom_launch(loom_build(physics))
loom_launch(loom_build(parts))

while min(loom_poll(unit) for unit in (render, physics, parts)) < 0.5:
    pass

print(
    "pixel",
    hex(loom_read(render, 1.0, 258, 1, dtype=loom.u32)[0]),
    "speed",
    loom_read(physics, 1.0, 0.0, 1)[0],
)
assert loom_read(render, 1.0, 258, 1, dtype=loom.u32)[0] == 0x0201FF
assert (loom_read(physics, 1.0, 0.0, total) == -4.875).all()
assert len(set(loom_read(parts, 1.0, 0.0, total, dtype=loom.u32).tolist())) == total
