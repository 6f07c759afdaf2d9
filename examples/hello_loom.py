"""Your first Loom program: double every element."""

import loom
from loom import InOut, f32
from loom.flow import loom_boot, loom_build, loom_dispatch, loom_read, loom_run, loom_write


@loom.kernel(workgroup=8)
def double(registers: InOut[f32]):
    i = loom.global_id()
    registers[i] = registers[i] * 2


data = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]

unit = loom_boot(1.0, 8, 0)  # one buffer, 8 registers, no globals
loom_write(unit, 0.0, data, bind=0)

loom_dispatch(unit, double, [], 1.0)

prog = loom_build(unit)
loom_run(prog)
result = loom_read(unit, 0.0, 0.0, 8)

print("Input: ", data)
print("Output:", result.tolist())
assert result.tolist() == [2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0]
