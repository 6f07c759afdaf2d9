"""Three pipelines at once: no streams, no pinned memory, no synchronisation to write."""

from loom.flow import loom_boot, loom_build, loom_dispatch, loom_launch, loom_poll, loom_read
from pipelines import fall, scatter, shade

units = render, physics, parts = [loom_boot(1.0, 1.0, 65_536) for _ in range(3)]
loom_dispatch(render, shade, [256], 256)
loom_dispatch(physics, fall, [9.75, 0.5], 256)
loom_dispatch(parts, scatter, [7], 256)
programs = [loom_build(unit) for unit in units]
runs = [loom_launch(program) for program in programs]
while min(loom_poll(run) for run in runs) < 0.5:
    pass
print("speeds:", speeds := loom_read(physics, 1.0, 0.0, 65_536))
assert (speeds == -4.875).all()
