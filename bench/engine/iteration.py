"""200 dependent dispatches of an iteration (PageRank) on a GPU, beside CUDA's own graph of the same kernels.

``--device cuda`` or ``vulkan``. The peer is CUDA C through NVRTC, contraction off, captured by cupy into a graph.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

import loom
from bench.harness import Side, alternate
from bench.report import Bar, Family, Row, main, wanted_device
from loom import In, Out, f32, u32

NODES, EDGES, TURNS = 1 << 12, 1 << 15, 100
LANES = 64
BLOCKS, CALLS = 7, 10
LIMIT = 1.2

Array = np.ndarray[Any, Any]


@loom.kernel(workgroup=LANES)
def share(rank: In[f32], degree: In[f32], out: Out[f32]):
    """What a node gives to each that it points to."""
    i = loom.global_id()
    if i < len(rank):
        out[i] = rank[i] / degree[i]


@loom.kernel(workgroup=LANES)
def collect(start: In[u32], source: In[u32], given: In[f32], rank: Out[f32], base: f32, n: u32):
    """What a node gets."""
    i = loom.global_id()
    if i < n:
        total = f32(0)
        for e in range(start[i], start[i + 1]):
            total += given[source[e]]
        rank[i] = base + 0.85 * total


C = r"""
extern "C" __global__ void __launch_bounds__(64) share(const float *rank, const float *degree, float *out, unsigned n) {
  unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) out[i] = rank[i] / degree[i];
}
extern "C" __global__ void __launch_bounds__(64) collect(const unsigned *start, const unsigned *source,
                                                         const float *given, float *rank, float base, unsigned n) {
  unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) {
    float total = 0;
    for (unsigned e = start[i]; e < start[i + 1]; e++) total += given[source[e]];
    rank[i] = base + 0.85f * total;
  }
}
"""


def run(family: Family) -> None:
    """Measure the iteration."""
    name = wanted_device()
    if name == "cpu":
        family.notes.append("for a GPU: --device cuda")
        return
    start, source, degree = graph()
    call, ranks = _loom(name, start, source, degree)
    sides = [Side("loom", call)]
    peer = _cuda(start, source, degree)
    call()
    if peer is not None:
        peer[0]()
        assert np.array_equal(ranks().view(np.uint32), peer[1]().view(np.uint32)), "the ranks differ"
        sides.append(Side("graph", peer[0]))
    timings = alternate(sides, blocks=BLOCKS, calls=CALLS)
    measured: dict[str, float | int | str] = {
        f"{n}_us_each": timings.median(n) / (2 * TURNS) * 1e6 for n in timings.blocks
    }
    bars: tuple[Bar, ...] = ()
    if peer is not None:
        ratio = timings.median_of_ratios("loom", "graph")
        bars = (Bar(f"at most {LIMIT} of the time of CUDA's graph", LIMIT, ratio),)
    else:
        family.notes.append("no cupy here: nothing to compare with")
    family.rows.append(Row(f"{2 * TURNS} dependent dispatches of {NODES} lanes on {name}", measured, bars))


def graph() -> tuple[Array, Array, Array]:
    """Return where the edges of each node start, where they come from, and how many leave each."""
    rng = np.random.default_rng(12)
    target = np.sort((rng.random(EDGES) ** 2 * NODES).astype(np.uint32))
    source = rng.integers(0, NODES, EDGES).astype(np.uint32)
    start = np.searchsorted(target, np.arange(NODES + 1)).astype(np.uint32)
    return start, source, np.maximum(np.bincount(source, minlength=NODES), 1).astype(np.float32)


def _base() -> float:
    return float(np.float32(0.15) / np.float32(NODES))


def _loom(name: str, *arrays: Array) -> tuple[Callable[[], Any], Callable[[], Array]]:
    """Return the program, which goes on from where it stopped, and what reads its ranks."""
    device = loom.device(name)
    first = np.full(NODES, 1 / NODES, np.float32)
    start, source, degree, given, rank = (device.allocate(a.nbytes) for a in (*arrays, first, first))
    for storage, array in ((start, arrays[0]), (source, arrays[1]), (degree, arrays[2]), (rank, first)):
        storage.write(0, array.view(np.uint8))
    chain = loom.Chain(device)
    with chain.repeat(TURNS):
        chain.dispatch(share, [rank, degree, given], [], groups=NODES // LANES)
        chain.dispatch(collect, [start, source, given, rank], [_base(), NODES], groups=NODES // LANES)
    program = chain.build()
    return program.run, lambda: rank.read(0, 4 * NODES).view(np.float32)


def _cuda(*arrays: Array) -> tuple[Callable[[], Any], Callable[[], Array]] | None:
    """Return the same as a graph of CUDA, None without cupy."""
    try:
        cupy = import_module("cupy")
    except ImportError:
        return None
    module = cupy.RawModule(code=C, options=("-fmad=false",))
    shares, collects = (module.get_function(name) for name in ("share", "collect"))
    start, source, degree = (cupy.asarray(a) for a in arrays)
    rank = cupy.full(NODES, 1 / NODES, cupy.float32)
    given = cupy.zeros(NODES, cupy.float32)
    grid, block = (NODES // LANES,), (LANES,)
    stream = cupy.cuda.Stream(non_blocking=True)
    cupy.cuda.Device().synchronize()
    with stream:
        stream.begin_capture()
        for _ in range(TURNS):
            shares(grid, block, (rank, degree, given, np.uint32(NODES)))
            collects(grid, block, (start, source, given, rank, np.float32(_base()), np.uint32(NODES)))
        captured = stream.end_capture()

    def call() -> None:
        captured.launch(stream)
        stream.synchronize()

    return call, rank.get


if __name__ == "__main__":
    main("iteration", run)
