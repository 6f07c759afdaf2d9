"""Indirect dispatch: a kernel decides how many workgroups the next one gets; scans number what is kept, in order."""

import numpy as np

import loom
from loom import In, InOut, Out, u32


@loom.kernel(workgroup=64)
def count(data: In[u32], kept: Out[u32]):
    i = loom.global_id()
    found = loom.group_count(i < len(data) and data[i] % 7 == 0)
    if loom.local_id() == 0:
        kept[loom.group_id()] = found


@loom.kernel(workgroup=1)
def add_up(kept: In[u32], starts: Out[u32], counts: InOut[u32]):
    total = u32(0)
    for g in range(len(kept)):
        starts[g] = total
        total += kept[g]
    starts[len(kept)] = total
    counts[0] = (total + 63) // 64


@loom.kernel(workgroup=64)
def place(data: In[u32], starts: In[u32], where: Out[u32]):
    i = loom.global_id()
    keeps = i < len(data) and data[i] % 7 == 0
    number = loom.group_scan(u32(keeps), inclusive=False)
    if keeps:
        where[starts[loom.group_id()] + number] = i


@loom.kernel(workgroup=64)
def square(data: InOut[u32], starts: In[u32], where: In[u32]):
    k = loom.global_id()
    if k < starts[len(starts) - 1]:
        data[where[k]] = data[where[k]] * data[where[k]]


data = np.random.default_rng(0).integers(0, 1000, 10_000).astype(np.uint32)
groups = -(-data.size // 64)
sizes = {"kept": (u32, groups), "starts": (u32, groups + 1), "where": (u32, data.size)}

with loom.boot(registers=0, bindings={"data": data, "counts": np.ones(3, np.uint32), **sizes}) as unit:
    unit.dispatch(count, groups=groups)
    unit.dispatch(add_up)
    unit.dispatch(place, groups=groups)
    unit.dispatch_indirect(square, buffer="counts")
    unit.build().run()
    groups, where = unit.read(binding="counts")[0], unit.read(binding="where")[: (data % 7 == 0).sum()]
    result = unit.read(binding="data")

print(f"{groups} groups for {len(where)} elements")
assert (where == np.flatnonzero(data % 7 == 0)).all()
assert (result == np.where(data % 7 == 0, data * data, data)).all()
