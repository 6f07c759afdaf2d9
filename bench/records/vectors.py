"""``loom.vectors`` beside numpy's matmul and argpartition, faiss's flat index, copies, and files written by numpy.

With ``--device vulkan`` the batch of 1,000 over 10^6 vectors, beside torch's matmul and topk on the same GPU. Peers get
vectors that are normalised already. Invariant: the hits of both sides are the same, but for scores that differ by
less than their roundings.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

import loom
from bench.harness import THREADS, Side, alternate
from bench.report import Bar, Family, Row, main, wanted_device

DIMS, K = 384, 10
NUMPY, FAISS, BYTES, COPIES, FILES, TORCH = {1: 0.9, 100: 0.7}, 3.0, 2.0, 0.5, 1.5, 0.4
SEARCHED = 100_000
MANY = int(os.environ.get("LOOM_BENCH_VECTORS", "1000000"))
BATCH = 1000
NEAR = 1e-5
PRECISIONS = ("q8", "q12", "x12")

Call = Callable[[], Any]


def run(family: Family) -> None:
    """Measure search, capture and files; on a GPU the large batch."""
    if wanted_device() != "cpu":
        family.rows.append(_on_device(wanted_device()))
        family.notes.append("a call from host queries to hits on the host; torch's ends when its results are there")
        return
    x = np.random.default_rng(1).standard_normal((SEARCHED, DIMS), np.float32)
    stores = {kept: _store(x, kept) for kept in ("f32", "i8")}
    for count in (1, 100):
        family.rows.append(_searched(x, stores, count))
    del stores
    large = np.random.default_rng(2).standard_normal((MANY, DIMS), np.float32)
    family.rows.append(_captured(large))
    family.rows.extend(_filed(large))
    family.notes.append("vectors and weights are in memory before; a search is a whole call, metadata of hits included")
    family.notes.append("numpy writes and reads the same vectors with tofile, fsync and fromfile: no ids, no checksums")


def _store(x: Any, kept: str, device: str = "cpu") -> Any:
    db = loom.vectors.VectorStore(DIMS, len(x), "cosine", device, kept)
    db.capture_many(None, x)
    return db


def _searched(x: Any, stores: Mapping[str, Any], count: int) -> Row:
    queries = np.random.default_rng(3).standard_normal((count, DIMS), np.float32)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    lengths = np.linalg.norm(queries, axis=1, keepdims=True)

    def with_numpy() -> Any:
        scores = (queries / lengths) @ unit.T
        chosen = np.argpartition(scores, -K, axis=1)[:, -K:]
        order = np.argsort(-np.take_along_axis(scores, chosen, 1), axis=1)
        return np.take_along_axis(chosen, order, 1)

    sides = {"numpy": with_numpy}
    faiss = _faiss(unit)
    if faiss is not None:
        sides["faiss"] = lambda: faiss.search(queries / lengths, K)[1]
    _same(stores["f32"].search_many(queries, K), with_numpy(), (queries / lengths) @ unit.T)
    ours = {f"loom {kept}": (lambda db=db: db.search_many(queries, K)) for kept, db in stores.items()}
    precise = {p: (lambda p=p: stores["f32"].search_many(queries, K, precision=p)) for p in PRECISIONS}
    ours |= {f"loom f32 in {p}": call for p, call in precise.items()}
    timings = alternate([Side(n, c) for n, c in {**ours, **sides}.items()], blocks=9, calls=5 if count == 1 else 2)
    measured: dict[str, float | int | str] = {f"{n}_ms": timings.median(n) * 1e3 for n in timings.blocks}
    speeds = {n: 1 / timings.median_of_ratios("loom f32", n) for n in [*sides, "loom i8"]}
    exact = stores["f32"].search_many(queries, K)
    measured |= {f"recall_{p}": _recall(exact, call()) for p, call in precise.items()}
    bars = [_bar(f"at least {NUMPY[count]} of numpy's speed", NUMPY[count], speeds["numpy"])]
    if count > 1:
        bars.append(_bar(f"{FAISS:g} times faiss's speed", FAISS, speeds.get("faiss")))
    elif "faiss" in speeds:
        measured["speed_to_faiss"] = speeds["faiss"]
    bars.append(_bar(f"from int8 {BYTES:g} times as fast", BYTES, 1 / speeds["loom i8"]))
    return Row(f"cosine, best {K} of {SEARCHED:,} x {DIMS} for {count} queries", measured, tuple(bars))


def _recall(exact: Any, found: Any) -> float:
    """Return the part of the exact hits that were found."""
    both = zip(exact, found, strict=True)
    return float(np.mean([len({h.row for h in a} & {h.row for h in b}) / len(a) for a, b in both]))


def _same(hits: Any, rows: Any, scores: Any) -> None:
    """See that hits are those of a peer, but where scores are nearly equal."""
    for n, found in enumerate(hits):
        for hit, row in zip(found, rows[n], strict=True):
            assert hit.row == row or abs(scores[n, hit.row] - scores[n, row]) < NEAR, "the hits differ"
            assert abs(hit.score - scores[n, hit.row]) < NEAR, "the scores differ"


def _faiss(unit: Any) -> Any:
    try:
        library: Any = import_module("faiss")
    except ImportError:
        return None
    library.omp_set_num_threads(THREADS)
    index = library.IndexFlatIP(DIMS)
    index.add(unit)
    return index


def _captured(x: Any) -> Row:
    target = np.empty_like(x)
    target[:] = 0
    ids = [str(n) for n in range(len(x))]

    def capture() -> dict[str, float]:
        import time

        db = loom.vectors.VectorStore(DIMS, len(x))
        start = time.perf_counter()
        db.capture_many(ids, x)
        took = time.perf_counter() - start
        db.close()
        return {"capture_many": took}

    sides = [Side("loom", capture), Side("copy", lambda: np.copyto(target, x)), Side("new copy", x.copy)]
    timings = alternate(sides, blocks=3, calls=1)
    measured: dict[str, float | int | str] = {
        f"{n}_GB_per_s": x.nbytes / timings.median(n) * 1e-9 for n in ("capture_many", "copy", "new copy")
    }
    speed = 1 / timings.median_of_ratios("capture_many", "new copy")
    measured["speed_to_copy"] = 1 / timings.median_of_ratios("capture_many", "copy")
    bar = _bar(f"at least {COPIES} of the bandwidth of a copy to new memory", COPIES, speed)
    return Row(f"capture_many of {len(x):,} x {DIMS}", measured, (bar,))


def _filed(x: Any) -> list[Row]:
    db = _store(x, "f32")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        path, plain = Path(folder) / "store", Path(folder) / "plain"

        def write() -> None:
            with plain.open("wb") as file:
                x.tofile(file)
                os.fsync(file.fileno())

        pairs: dict[str, tuple[Call, Call]] = {
            "flush": (lambda: loom.vectors.flush(db, path), write),
            "restore": (lambda: loom.vectors.restore(path).close(), lambda: np.fromfile(plain, np.float32)),
        }
        for what, (ours, numpys) in pairs.items():
            timings = alternate([Side("loom", ours), Side("numpy", numpys)], blocks=3, calls=1)
            measured: dict[str, float | int | str] = {f"{n}_s": timings.median(n) for n in timings.blocks}
            ratio = timings.median_of_ratios("loom", "numpy")
            bar = Bar(f"at most {FILES} times as long as numpy with the same bytes", FILES, ratio)
            rows.append(Row(f"{what} of {len(x):,} x {DIMS}", measured, (bar,)))
    return rows


def _on_device(name: str) -> Row:
    x = np.random.default_rng(1).standard_normal((MANY, DIMS), np.float32)
    queries = np.random.default_rng(3).standard_normal((BATCH, DIMS), np.float32)
    db = _store(x, "f32", name)
    few = _store(x[:SEARCHED], "f32")
    part = _store(x[:SEARCHED], "f32", name)
    assert part.search_many(queries[:20], K) == few.search_many(queries[:20], K), "the bits differ from the CPU's"
    sides = [Side("loom", lambda: db.search_many(queries, K))]
    peer = _torch(x, queries)
    if peer is not None:
        sides.append(Side("torch", peer))
    timings = alternate(sides, blocks=5, calls=2)
    measured: dict[str, float | int | str] = {f"{n}_ms": timings.median(n) * 1e3 for n in timings.blocks}
    speed = None if peer is None else 1 / timings.median_of_ratios("loom", "torch")
    bar = _bar(f"at least {TORCH} of the speed of torch's matmul and topk", TORCH, speed)
    return Row(f"cosine, best {K} of {MANY:,} x {DIMS} for {BATCH} queries on {name}", measured, (bar,))


def _torch(x: Any, queries: Any) -> Call | None:
    try:
        torch: Any = import_module("torch")
    except ImportError:
        return None
    if not torch.cuda.is_available():
        return None
    torch.backends.cuda.matmul.allow_tf32 = False
    held = torch.nn.functional.normalize(torch.from_numpy(x).cuda())
    given = torch.nn.functional.normalize(torch.from_numpy(queries))

    def call() -> Any:
        values, places = torch.topk(given.cuda() @ held.T, K)
        return values.cpu(), places.cpu()

    return call


def _bar(text: str, limit: float, value: float | None) -> Bar:
    return Bar(text, limit, value, at_least=True)


if __name__ == "__main__":
    main("vectors", run)
