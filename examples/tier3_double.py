"""Tier 3: a kernel written operation by operation, then dispatched like any other."""

import numpy as np

from loom.flow import (
    ir_begin,
    ir_block,
    ir_buf_load,
    ir_buf_store,
    ir_const,
    ir_entry,
    ir_finalize,
    ir_fmul,
    ir_global_id,
    loom_boot,
    loom_build,
    loom_dispatch_jit,
    loom_read,
    loom_run,
    loom_write,
)
from loom.ir.text import print_kernel

# A kernel that doubles every element
prog = ir_begin()
entry = ir_entry(prog)
body = ir_block(prog)

gid = ir_global_id(entry)
val = ir_buf_load(body, 0.0, gid)
doubled = ir_fmul(body, val, ir_const(body, 2.0))
ir_buf_store(body, 0.0, gid, doubled)

kernel = ir_finalize(prog)
print(print_kernel(kernel.kernel))

# Four groups of 256 lanes
unit = loom_boot(1.0, 1024, 0)
loom_write(unit, 0.0, np.arange(1024, dtype=np.float32), bind=0)
loom_dispatch_jit(unit, kernel, [], 4.0)
p = loom_build(unit)
loom_run(p)
result = loom_read(unit, 0.0, 0.0, 1024)
assert (result == np.arange(0, 2048, 2)).all()
