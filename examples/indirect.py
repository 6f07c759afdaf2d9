"""Indirect dispatch: one kernel decides, on the device, how many workgroups the next one gets."""

import numpy as np

import loom
from loom import In, InOut, Out, u32


@loom.kernel(workgroup=64)
def plan(data: In[u32], found: InOut[u32], where: Out[u32]):
    i = loom.global_id()
    if i < len(data) and data[i] % 7 == 0:
        where[loom.atomic_add(found, 0, 1)] = i


@loom.kernel(workgroup=1)
def count_groups(found: In[u32], counts: Out[u32]):
    counts[0] = (found[0] + 63) // 64
    counts[1] = 1
    counts[2] = 1


@loom.kernel(workgroup=64)
def square(data: InOut[u32], found: In[u32], where: In[u32]):
    k = loom.global_id()
    if k < found[0]:
        data[where[k]] = data[where[k]] * data[where[k]]


data = np.random.default_rng(0).integers(0, 1000, 10_000).astype(np.uint32)
sizes = {"found": (u32, 1), "where": (u32, data.size), "counts": (u32, 3)}

with loom.boot(registers=0, bindings={"data": data, **sizes}) as unit:
    unit.dispatch(plan, groups=-(-data.size // 64))
    unit.dispatch(count_groups)
    unit.dispatch_indirect(square, buffer="counts")
    unit.build().run()
    groups = int(unit.read(0, 1, binding="counts")[0])
    result = unit.read(binding="data")

print(f"{groups} groups for {int((data % 7 == 0).sum())} elements")
assert (result == np.where(data % 7 == 0, data * data, data)).all()
