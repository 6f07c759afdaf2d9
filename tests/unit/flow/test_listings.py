"""The listings of the document, typed as literally as Python lets them be, under one ``from loom.flow import *``."""

from __future__ import annotations

import builtins
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loom
from loom import flow
from loom.core.errors import ArgumentError, StateError


def typed(source: str, **given: Any) -> dict[str, Any]:
    """Run a listing; return the names that it made."""
    names: dict[str, Any] = {}
    exec("from loom.flow import *", names)
    names |= given
    exec(source, names)
    return names


_TEXT = """
gpu_sum gpu_min gpu_max gpu_map gpu_sort gpu_scan gpu_prime_count gpu_matmul gpu_sieve gpu_attention loom_boot
loom_write loom_read loom_set_heap loom_dispatch loom_dispatch_jit loom_build loom_run loom_launch loom_poll loom_wait
loom_present loom_shutdown ui_poll_events loom_profile_start loom_profile_end ir_begin ir_entry ir_block ir_global_id
ir_const ir_const_u ir_buf_load ir_buf_store ir_fadd ir_fsub ir_fmul ir_fdiv ir_iadd ir_isub ir_imul ir_shl ir_shr
ir_not ir_bitcount ir_buf_atomic_and ir_barrier ir_shared_load ir_shared_store ir_u32_to_u64 ir_u64_to_u32 ir_imul64
ir_iadd64 ir_udiv64 ir_finalize float_to_bits loomdb_create loomdb_create_vectors loomdb_capture loomdb_search
loomdb_gpu_search loomdb_needs_flush loomdb_normalize loomdb_result_count loomdb_result_id loomdb_result_score
loomdb_result_meta loomdb_flush loomdb_restore_meta loomdb_restore_vectors db_create db_table db_insert db_select_row
db_select_column db_where db_select db_update db_delete db_count db_distinct db_aggregate db_save db_load
db_import_csv db_save_all_start db_save_all_add db_load_all
"""
NAMES = _TEXT.split()


def test_one_star_gives_every_name_of_the_document() -> None:
    names = typed("")
    assert [name for name in NAMES if not callable(names.get(name))] == []
    assert not set(names) & set(dir(builtins))
    assert set(NAMES) <= set(flow.__all__) <= set(dir(flow))


def test_the_list_of_names_is_what_the_modules_have() -> None:
    names = "aliases arithmetic async_files extras functions ir tables tier_one units vectors window"
    modules = [import_module(f"loom.flow.{name}") for name in names.split()]
    of_loom = {name for name in flow.__all__ if name.startswith("gpu_")}
    assert sorted(of_loom.union(*(module.__all__ for module in modules))) == flow.__all__
    assert flow.loomdb_flush is import_module("loom.flow.vectors").loomdb_flush
    assert flow.gpu_sum is loom.gpu_sum


def test_gpu_sieve_and_what_is_said_where_it_is_not() -> None:
    assert flow.gpu_sieve(100.0).tolist() == [n for n in range(2, 100) if all(n % k for k in range(2, n))]
    assert len(flow.gpu_sieve(10**6)) == 78498
    with pytest.raises(AttributeError, match=r"It is loom\.flow\.gpu_sieve"):
        loom.gpu_sieve  # noqa: B018
    for wrong in (-1, 2.5, "many"):
        with pytest.raises(ArgumentError, match=r"\[gpu_sieve\] unusable n"):
            flow.gpu_sieve(wrong)


def test_bits_of_floats() -> None:
    values = np.array([0.0, -0.0, 1.5, np.inf, 2**24], np.float32)
    assert flow.float_to_bits(values).tolist() == values.view(np.uint32).tolist()
    assert flow.bits_to_float(flow.float_to_bits(values)).tobytes() == values.tobytes()
    assert (flow.float_to_bits(1.0), flow.bits_to_float(0xFFFFFFFF) != 0) == (0x3F800000, True)


# tier 1


def test_three_lines() -> None:
    names = typed("count = gpu_prime_count(10000000.0)")
    assert names["count"] == 664579


def test_one_call_patterns() -> None:
    data, a, b = [1.0, 4.0, 9.0], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1.0, 0.0, 0.0, 1.0, 1.0, 1.0]
    names = typed("""
total = gpu_sum(data)
biggest = gpu_max(data)
primes = gpu_prime_count(1000.0)
doubled = gpu_map(data, "mul", 2.0)
roots = gpu_map(data, "sqrt")
C = gpu_matmul(A, B, 2.0, 2.0, 3.0)
""", data=data, A=a, B=b)  # fmt: skip
    assert [names[n] for n in ("total", "biggest", "primes")] == [14.0, 9.0, 168]
    assert np.asarray(names["doubled"]).tolist() == [2.0, 8.0, 18.0]
    assert np.asarray(names["roots"]).tolist() == [1.0, 2.0, 3.0]
    assert np.asarray(names["C"]).reshape(-1).tolist() == [4.0, 5.0, 10.0, 11.0]


# tier 2


def test_dispatch_chains() -> None:
    names = typed("""
seg, words, n_lo, n_hi, count_off = 0.0, 8192.0, 65536.0, 0.0, 8192.0
unit = loom_boot(1.0, 8194, 4096)
loom_write(unit, 0.0, my_primes)
loom_dispatch(unit, "stdlib/loom/kernels/sieve_init.spv", [seg, words, n_lo, n_hi], 32.0)
loom_dispatch(unit, "stdlib/loom/kernels/sieve_mark.spv", [seg, words, 0, 53], 32.0)
loom_dispatch(unit, "stdlib/loom/kernels/sieve_count.spv", [words, count_off], 32.0)
prog = loom_build(unit)
loom_launch(prog)
while loom_poll(prog) < 0.5:
    pass
result = loom_read(unit, 0.0, 0.0, 8194)
""", my_primes=[float(p) for p in loom.gpu_primes(3, 256)])  # fmt: skip
    assert names["result"][8192] == 6542


def test_a_kernel_of_the_ir() -> None:
    names = typed("""
prog = ir_begin()
entry = ir_entry(prog)
body = ir_block(prog)
gid = ir_global_id(entry)
val = ir_buf_load(body, 0.0, gid)
doubled = ir_fmul(body, val, ir_const(body, 2.0))
ir_buf_store(body, 0.0, gid, doubled)
kernel = ir_finalize(prog)
unit = loom_boot(1.0, 1024, 0)
loom_dispatch_jit(unit, kernel, [], 4.0)
p = loom_build(unit)
loom_run(p)
result = loom_read(unit, 0.0, 0.0, 1024)
""")
    assert not names["result"].any()  # nothing is written before


def test_implicit_conflated_and_explicit_support() -> None:
    """The shaders are files of the reader's: here a kernel of the library."""
    names = typed("""
sieve = shader = "stdlib/loom/kernels/math/double.spv"
params, p, wg, total = [], [], 4.0, 1024.0
vms = []
i = 0.0
while i < 16.0:
    vm = loom_boot(1.0, 8194.0, 4096.0)
    loom_write(vm, 0.0, primes)
    loom_dispatch(vm, sieve, params, wg)
    prog = loom_build(vm)
    loom_launch(prog)
    vms.append(vm)
    i = i + 1.0
for vm in vms:
    while loom_poll(vm) < 0.5:
        pass

vm = loom_boot(1.0, 1.0, 1024.0)
prev, running = None, 1.0
for frame in range(3):
    if prev is not None:
        loom_wait(prev)
    picture = loom_present(vm, total)
    loom_set_heap(vm, atlas)
    loom_dispatch(vm, shader, params, wg)
    loom_dispatch(vm, shader, params, wg)
    prog = loom_build(vm)
    loom_launch(prog)
    prev = prog

support_vm = loom_boot(1.0, 0.0, 256.0)
main_vm = loom_boot(1.0, 1.0, 1024.0)
loom_launch(loom_build(main_vm))
for offset in (0.0, 1.0):
    loom_write(support_vm, offset, [offset + 7.0])
    val = loom_read(support_vm, offset)
    loom_wait(main_vm)
    loom_present(main_vm, total)
    loom_dispatch(main_vm, shader, p, wg)
    loom_launch(loom_build(main_vm))
""", primes=[3.0, 5.0], atlas=[1.0, 2.0])  # fmt: skip
    assert len(names["vms"]) == 16
    assert names["picture"].pixels.shape[:2] == (32, 32)
    assert names["val"] == 8.0


def test_three_pipelines() -> None:
    names = typed("""
total, wg, r_params, p_params, t_params = 256.0, 1.0, [], [], []
render  = loom_boot(1.0, 1.0, total)
physics = loom_boot(1.0, 1.0, total)
parts   = loom_boot(1.0, 1.0, total)
for unit in (render, physics, parts):
    loom_write(unit, 0.0, [21.0], bind=0.0)

loom_dispatch(render,  shader, r_params, wg)
loom_dispatch(physics, shader, p_params, wg)
loom_dispatch(parts,   shader, t_params, wg)

loom_launch(loom_build(render))
loom_launch(loom_build(physics))
loom_launch(loom_build(parts))

while loom_poll(render) < 0.5:
    pass
""", shader="stdlib/loom/kernels/math/double.spv")  # fmt: skip
    assert [flow.loom_read(names[n], 0.0, 0.0, 1)[0] for n in ("render", "physics", "parts")] == [42.0] * 3


def test_hello_loom() -> None:
    """The document forgets to write its data: with that it gives what it says."""
    names = typed("""
data = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
unit = loom_boot(1.0, 8, 0)
loom_write(unit, 0.0, data, bind=0.0)
loom_dispatch(unit, "stdlib/loom/kernels/math/double.spv", [], 1.0)
prog = loom_build(unit)
loom_run(prog)
result = loom_read(unit, 0.0, 0.0, 8)
""")
    assert names["result"].tolist() == [2.0, 4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0]


# databases


def test_loomdb(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    a, b, c = rng.standard_normal((3, 384)).astype(np.float32)
    names = typed("""
ldb = loomdb_create(384.0, 3.0)
vectors = loomdb_create_vectors()
_c1 = loomdb_capture(ldb, vectors, "emb_001", embedding_a, "batch=42")
_c2 = loomdb_capture(ldb, vectors, "emb_002", embedding_b, "batch=42")
_c3 = loomdb_capture(ldb, vectors, "emb_003", embedding_c, "batch=43")
_s = loomdb_search(ldb, vectors, query_vector, 5.0, "cosine")
count = loomdb_result_count(ldb)
found = []
for i in range(0, count):
    id = loomdb_result_id(ldb, i)
    score = loomdb_result_score(ldb, i)
    found.append((id, score))
_g = loomdb_gpu_search(ldb, vectors, query_vector, 10.0)
if loomdb_needs_flush(ldb) == 1.0:
    _f = loomdb_flush(ldb, vectors, path)

ldb = loomdb_restore_meta(path)
vectors = loomdb_restore_vectors(path)
_s = loomdb_search(ldb, vectors, query_vector, 5.0, "cosine")
""", embedding_a=a, embedding_b=b, embedding_c=c, query_vector=b, path=str(tmp_path / "cache/embeddings"))  # fmt: skip
    assert (names["count"], names["found"][0][0], names["_f"], names["_s"]) == (3, "emb_002", 3.0, 3.0)
    assert flow.loomdb_result_id(names["ldb"], 0) == "emb_002"


def test_octodb(tmp_path: Path) -> None:
    names = typed("""
db = db_create()
users = db_table(db, "users", ["name", "age", "email"])
row = dict()
row["name"] = "Alice"
row["age"] = 30.0
row["email"] = "alice@example.com"
_i = db_insert(users, row)
indices = db_where(users, "age", ">", 25.0)
avg_age = db_aggregate(users, "age", "avg")
results = db_select(users, ["age", "name"], [">", "contains"], [25.0, "Ali"])
_s = db_save(users, path)
restored = db_load(path)
""", path=str(tmp_path / "users.odb"))  # fmt: skip
    assert (names["indices"], names["avg_age"], names["results"]) == ([0], 30.0, [0])
    assert flow.db_count(names["restored"]) == 1


def test_what_was_restored_from_two_places_is_no_database(tmp_path: Path) -> None:
    ldb: dict[str, Any] = {}
    for name in ("a", "b"):
        ldb[name] = flow.loomdb_create(2.0, 4.0), flow.loomdb_create_vectors()
        flow.loomdb_capture(*ldb[name], name, [1.0, 0.0])
        flow.loomdb_flush(*ldb[name], tmp_path / name)
    meta, vectors = flow.loomdb_restore_meta(tmp_path / "a"), flow.loomdb_restore_vectors(tmp_path / "b")
    with pytest.raises(ArgumentError, match=r"not of this database: expected those of '.*/a', got those of '.*/b'"):
        flow.loomdb_search(meta, vectors, [1.0, 0.0], 1.0)
    with pytest.raises(ArgumentError, match=r"expected those of '.*/a', got new ones.*Call loomdb_restore_vectors\('"):
        flow.loomdb_capture(meta, flow.loomdb_create_vectors(), "c", [1.0, 0.0])
    again = flow.loomdb_restore_vectors(str(tmp_path / "a.ldb"))
    assert flow.loomdb_search(meta, again, [1.0, 0.0], 1.0) == 1.0
    flow.loomdb_capture(meta, again, "c", [1.0, 1.0])
    flow.loomdb_flush(meta, again, tmp_path / "a")
    with pytest.raises(StateError, match="was flushed by another since this one was"):
        flow.loomdb_flush(*ldb["a"], tmp_path / "a")
    assert flow.loomdb_flush(*ldb["a"], tmp_path / "a", replace=True) == 1.0


def test_a_second_metric_takes_no_second_store() -> None:
    ldb, vectors = flow.loomdb_create(64.0, 1000.0), flow.loomdb_create_vectors()
    for n, row in enumerate(np.random.default_rng(1).standard_normal((300, 64), np.float32)):
        flow.loomdb_capture(ldb, vectors, f"v{n}", row)
    flow.loomdb_search(ldb, vectors, np.ones(64), 3.0)
    before = vectors.store.nbytes
    for metric in ("dot", "euclidean"):
        flow.loomdb_search(ldb, vectors, np.ones(64), 3.0, metric)
        other = loom.vectors.VectorStore(64, 1000, metric)
        other.capture_many([f"v{n}" for n in range(300)], vectors.store.to_numpy()[1])
        assert [(h.id, h.score) for h in ldb.hits] == [(h.id, h.score) for h in other.search(np.ones(64), 3)]
    assert vectors.store.nbytes <= before + 4 * 1024
