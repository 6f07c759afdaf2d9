"""The kernels of three_pipelines.py, in a file of their own as a program would have them."""

# ruff: noqa: A002 (globals is a memory of the unit)
import loom
from loom import InOut, f32, u32


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


if __name__ == "__main__":
    with loom.boot(registers=1, globals=65_536) as unit:
        unit.dispatch(scatter, [7], groups=256)
        unit.build().run()
        found = unit.read(binding="globals")
    print(found[:4])
    assert len(set(found.tolist())) == 65_536  # an odd factor and a shift lose nothing
