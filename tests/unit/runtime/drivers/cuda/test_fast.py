"""Products with ``guarantee="fast"``: what is handed to libraries that are not NVIDIA's, and where they are refused.

The libraries here compute what the manuals of cuBLAS and cuSPARSE say of what they are given, in f64, so that layouts,
strides and types that Loom hands over are tried where there is no GPU.
"""

from __future__ import annotations

import ctypes
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import loom
from emulation.driver.binding import Emulated
from emulation.driver.streams import Order
from loom import tensor
from loom.core.errors import ArgumentError, DeviceError, DTypeError, LoomError, ShapeError
from loom.export import freeze_kernel
from loom.runtime.drivers.cuda import libraries
from loom.runtime.drivers.cuda.device import CudaDevice
from loom.runtime.plans import library
from loom.workers.worker import DeviceWorker
from unit.runtime.drivers.cuda.test_cuda import compiled, opened_over

RNG = np.random.default_rng(4)
_TYPES = {0: np.float32, 2: np.float16, 14: ml_dtypes.bfloat16}


def _over(address: Any, count: int, dtype: Any) -> np.ndarray[Any, Any]:
    kind = np.dtype(dtype)
    raw = (ctypes.c_uint8 * (count * kind.itemsize)).from_address(address.value)
    return np.frombuffer(raw, kind)


class FakeLibrary:
    """Both libraries: matrices of cuBLAS lie by columns, those of cuSPARSE as their descriptions say."""

    def __init__(self) -> None:
        self.called: list[str] = []
        self.made: list[tuple[Any, ...]] = []
        self.answer = 0
        self.wrong = False

    def since(self, gpu: CudaDevice) -> None:
        """Have the libraries of a GPU tried, and count from now on."""
        for call in (library.DenseProduct(1, 1, 1, loom.f32, loom.f32), library.SparseProduct(1, 1, 1, 1, loom.f32)):
            gpu.libraries.require(call)
        self.called.clear()

    def __getattr__(self, name: str) -> Any:
        if not name.startswith(("cublas", "cusparse")):
            raise AttributeError(name)

        def plain(*_given: Any) -> int:
            self.called.append(name)
            return self.answer

        return plain

    def cublasGemmStridedBatchedEx(self, *given: Any) -> int:
        self.called.append("gemm")
        (_, left, right, m, n, k, _one, a, a_type, lda, a_step, b, b_type, ldb, b_step, _none, c, c_type, ldc, c_step,
         count, compute, _way) = given  # fmt: skip
        assert compute.value == 68, "sums in f32"
        for batch in range(count.value):
            factors: list[np.ndarray[Any, Any]] = []
            for address, kind, ld, step, turned, (rows, columns) in (
                (a, a_type, lda, a_step, left, (m.value, k.value)), (b, b_type, ldb, b_step, right, (k.value, n.value)),
            ):  # fmt: skip
                rows, columns = (columns, rows) if turned.value else (rows, columns)
                assert ld.value >= rows
                dtype = np.dtype(_TYPES[kind.value])
                at = ctypes.c_void_p(address.value + batch * step.value * dtype.itemsize)
                matrix = _over(at, ld.value * columns, dtype).reshape(columns, ld.value)[:, :rows].T
                factors.append((matrix.T if turned.value else matrix).astype(np.float64))
            dtype = np.dtype(_TYPES[c_type.value])
            at = ctypes.c_void_p(c.value + batch * c_step.value * dtype.itemsize)
            out = _over(at, ldc.value * n.value, dtype).reshape(n.value, ldc.value)
            out[:, : m.value] = (factors[0] @ factors[1] + self.wrong).T.astype(dtype)
        return self.answer

    def _describe(self, where: Any, *given: Any) -> int:
        self.made.append(given)
        where._obj.value = len(self.made)
        return 0

    def cusparseCreateCsr(self, where: Any, *given: Any) -> int:
        return self._describe(where, *given)

    cusparseCreateDnMat = cusparseCreateCsr

    def cusparseSpMM_bufferSize(self, *given: Any) -> int:
        given[-1]._obj.value = 100
        return 0

    def cusparseSpMM(self, *given: Any) -> int:
        self.called.append("spmm")
        rows, width, places, starts, columns, values, *_ = self.made[given[4].value - 1]
        _, n, _ld, dense, _kind, order = self.made[given[5].value - 1]
        assert order.value == 2, "by rows"
        out = self.made[given[7].value - 1][3]
        heads = _over(starts, rows.value + 1, np.int32)
        inner, factors = _over(columns, places.value, np.int32), _over(values, places.value, np.float32)
        x = _over(dense, width.value * n.value, np.float32).reshape(width.value, n.value)
        found = _over(out, rows.value * n.value, np.float32).reshape(rows.value, n.value)
        for row in range(rows.value):
            here = slice(heads[row], heads[row + 1])
            found[row] = factors[here] @ x[inner[here]]
        return self.answer


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeLibrary:
    made = FakeLibrary()
    monkeypatch.setattr(libraries._Library, "_load", lambda _self, _name: made)
    return made


@pytest.fixture
def driver() -> Emulated:
    return compiled(seed=2, order=Order.AT_ONCE)  # as the libraries here are


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, driver: Emulated) -> CudaDevice:
    return opened_over(monkeypatch, driver)


@pytest.fixture(autouse=True)
def tried(request: pytest.FixtureRequest) -> None:
    """Have the libraries tried before a test counts what they are given."""
    if "fake" in request.fixturenames:
        request.getfixturevalue("fake").since(request.getfixturevalue("gpu"))


def _whole(*shape: int) -> np.ndarray[Any, Any]:
    """Return small whole numbers, whose products are exact in every order and type."""
    return RNG.integers(-4, 5, shape).astype(np.float32)


@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
@pytest.mark.parametrize("transposes", [(False, False), (True, False), (False, True), (True, True)])
def test_a_library_multiplies_what_is_stored_either_way(
    gpu: CudaDevice, fake: FakeLibrary, dtype: str, transposes: tuple[bool, bool]
) -> None:
    a, b = _whole(*((4, 3) if transposes[0] else (3, 4))), _whole(*((5, 4) if transposes[1] else (4, 5)))
    wanted = (a.T if transposes[0] else a) @ (b.T if transposes[1] else b)
    x, y = tensor.array(a, dtype, on=gpu), tensor.array(b, dtype, on=gpu)
    options: dict[str, Any] = {"transpose_a": transposes[0], "transpose_b": transposes[1], "guarantee": "fast"}
    for found in (loom.gpu_matmul(x, y, **options), x.matmul(y, **options)):
        assert found.astype("f32").tolist() == wanted.tolist()
        assert found.guarantee is loom.Guarantee.FAST
        assert str(found.dtype) == dtype
    if dtype != "f32":
        wide = loom.gpu_matmul(x, y, out_dtype="f32", **options)
        assert (str(wide.dtype), wide.tolist()) == ("f32", wanted.tolist())
    assert fake.called.count("gemm") == 2 + (dtype != "f32")


def test_batches_and_vectors(gpu: CudaDevice, fake: FakeLibrary) -> None:
    a, b, one, v = _whole(6, 3, 4), _whole(6, 4, 2), _whole(4, 2), _whole(4)
    for left, right in ((a, b), (a, one), (_whole(3, 4), b), (a, v), (v, one), (v, v)):
        found = loom.gpu_matmul(left, right, on=gpu, guarantee=loom.Guarantee.FAST)
        assert np.array_equal(found, left @ right)
        x, y = tensor.array(left, on=gpu), tensor.array(right, on=gpu)
        assert np.array_equal(x.matmul(y, guarantee="fast").numpy(), left @ right)
    with pytest.raises(ShapeError, match="the batches repeat in part"):
        loom.gpu_matmul(_whole(2, 1, 3, 4), _whole(1, 3, 4, 2), on=gpu, guarantee="fast")
    before = len(fake.called)
    assert (
        loom.gpu_matmul(np.ones((2, 0), "f4"), np.ones((0, 3), "f4"), on=gpu, guarantee="fast").tolist()
        == [[0] * 3] * 2
    )
    assert loom.gpu_matmul(np.ones((0, 2), "f4"), np.ones((2, 3), "f4"), on=gpu, guarantee="fast").shape == (0, 3)
    assert len(fake.called) == before


def test_it_is_in_order_with_kernels_and_never_in_a_graph(gpu: CudaDevice, fake: FakeLibrary, driver: Emulated) -> None:
    a = _whole(8, 8)
    call = library.library_kernel(library.DenseProduct(8, 8, 8, loom.f32, loom.f32))

    @loom.kernel(workgroup=8)
    def less(x: loom.InOut[loom.f32], y: loom.In[loom.f32]) -> None:
        i = loom.global_id()
        x[i] = y[i] - x[i]

    storage = [loom.device(gpu).allocate(256) for _ in range(2)]
    storage[0].write(0, a.reshape(-1).view(np.uint8))
    chain = loom.Chain(gpu)
    wanted, product = a.copy(), np.zeros((8, 8), np.float32)
    for _ in range(3):
        for _ in range(12):
            chain.dispatch(less, [storage[0], storage[1]], groups=8)
            wanted = product - wanted
        second = loom.device(gpu).allocate(256)
        second.write(0, np.eye(8, dtype=np.float32).reshape(-1).view(np.uint8))
        chain.dispatch(call, [storage[0], second, storage[1]], groups=1)
        product = wanted.copy()
    program = chain.build()
    program.run()
    assert program.guarantee is loom.Guarantee.FAST
    assert np.array_equal(storage[1].read(0, 256).view(np.float32).reshape(8, 8), product)
    assert len(driver.executables) == 3
    assert fake.called.count("gemm") == 3
    chain.dispatch(call, [storage[0], second, storage[1]], groups=1)
    with pytest.raises(DeviceError, match="so much: expected BIT_EXACT, got FAST, for 'cublas 8x8x8'"):
        chain.build(loom.Guarantee.BIT_EXACT)


def test_gradients_are_the_librarys_too_and_all_that_follows_says_so(gpu: CudaDevice, fake: FakeLibrary) -> None:
    a, b = _whole(3, 4), _whole(4, 5)
    p, q = tensor.parameter(a, on=gpu), tensor.parameter(b, on=gpu)
    loss = (p.matmul(q, guarantee="fast") * 2.0).sum()
    by_p, by_q = tensor.grad(loss, [p, q])
    assert by_p.tolist() == (2 * np.ones((3, 5)) @ b.T).tolist()
    assert by_q.tolist() == (a.T @ (2 * np.ones((3, 5)))).tolist()
    assert fake.called.count("gemm") == 2, "the product itself is nobody's question"
    for each in (loss, by_p, by_q, loss + 1, tensor.reshape(by_p, (-1,))[2:5], loom.gpu_sum(by_p)):
        assert each.guarantee is loom.Guarantee.FAST
    exact = p @ q
    assert exact.guarantee is loom.Guarantee.BIT_EXACT
    assert np.array_equal(exact.numpy(), a @ b)
    assert fake.called.count("gemm") == 2


def test_sparse_products(gpu: CudaDevice, fake: FakeLibrary) -> None:
    heads, inner = [0, 2, 2, 5], [0, 3, 1, 2, 3]
    matrix = tensor.csr((3, 4), heads, inner, tensor.parameter([1.0, 2.0, 3.0, 4.0, 5.0], on=gpu))
    dense = tensor.parameter(_whole(4, 6), on=gpu)
    fast, exact = tensor.spmm(matrix, dense, guarantee="fast"), tensor.spmm(matrix, dense)
    assert fast.tolist() == exact.tolist()
    assert (fast.guarantee, exact.guarantee) == (loom.Guarantee.FAST, loom.Guarantee.BIT_EXACT)
    assert fake.called.count("spmm") == 1
    found = [tensor.grad(x.sum(), [matrix.values, dense]) for x in (fast, exact)]
    for ours, theirs in zip(*found, strict=True):
        assert ours.tolist() == theirs.tolist()
    assert fake.called.count("spmm") == 2
    empty = tensor.csr((2, 4), [0, 0, 0], [], tensor.array(np.zeros(0, np.float32), on=gpu))
    assert tensor.spmm(empty, dense, guarantee="fast").tolist() == [[0.0] * 6] * 2
    wide = tensor.csr((1, 1), [0, 1], [0], [1.0], "f64", on=gpu)
    with pytest.raises(DTypeError, match="nothing fast multiplies f64: expected f32"):
        tensor.spmm(wide, tensor.array([[1.0]], "f64", on=gpu), guarantee="fast")


def test_where_nothing_fast_exists_it_is_said(gpu: CudaDevice, fake: FakeLibrary) -> None:
    a = np.ones((2, 2), np.float32)
    for name in ("cpu", "interp"):
        for call in (lambda on: loom.gpu_matmul(a, a, guarantee="fast", on=on),
                     lambda on: tensor.array(a, on=on).matmul(tensor.array(a, on=on), guarantee="fast")):  # fmt: skip
            with pytest.raises(
                DeviceError, match=f"nothing fast multiplies on device '{name}': expected a GPU of CUDA"
            ):
                call(name)
    for dtype, kind in (("f64", np.float64), ("i32", np.int32), ("u8", np.uint8)):
        with pytest.raises(DTypeError, match=f"nothing fast multiplies {dtype}"):
            loom.gpu_matmul(a.astype(kind), a.astype(kind), on=gpu, guarantee="fast")
    x = tensor.array(a.astype(np.complex64), on=gpu)
    with pytest.raises(LoomError, match="unsupported operands: expected tensors of numbers, got c64"):
        x.matmul(x, guarantee="fast")
    with pytest.raises(ArgumentError, match="a library's product has no precision of Loom's"):
        loom.gpu_matmul(a, a, on=gpu, guarantee="fast", precision="q12")
    for wrong in ("quick", 3, loom.Guarantee.RUN_TO_RUN, ["fast"]):
        with pytest.raises(ArgumentError, match=r"guarantee. unknown: expected None, 'exact' or 'fast'"):
            loom.gpu_matmul(a, a, on=gpu, guarantee=wrong)
    with loom.precision("q8"):
        assert loom.gpu_matmul(a, a, on=gpu, guarantee="fast").tolist() == [[2.0, 2.0]] * 2
    assert loom.gpu_matmul(a, a, on=gpu, guarantee="exact").tolist() == [[2.0, 2.0]] * 2
    assert fake.called.count("gemm") == 1


def test_a_library_that_is_missing_or_fails_is_an_error(gpu: CudaDevice, fake: FakeLibrary) -> None:
    a = _whole(2, 2)
    loom.gpu_matmul(a, a, on=gpu, guarantee="fast")
    fake.answer = 13
    with pytest.raises(DeviceError, match="cublas's GemmStridedBatchedEx fails with 13"):
        loom.gpu_matmul(a, a, on=gpu, guarantee="fast")


def test_without_the_wheel_the_remedy_names_it(gpu: CudaDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "cuda.pathfinder", None)
    with pytest.raises(DeviceError, match=r"libcublas cannot be loaded .*Run pip install nvidia-cublas"):
        loom.gpu_matmul(_whole(2, 2), _whole(2, 2), on=gpu, guarantee="fast")


def test_who_vouches_for_bits_refuses_them(gpu: CudaDevice, fake: FakeLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    a = tensor.array(_whole(2, 2), on=gpu)
    fast = a.matmul(a, guarantee="fast")
    document = {"format": "loom/1", "input": {"shape": [2]}, "layers": [{"type": "dense", "output_size": 2}]}
    network = loom.Network.from_json(document)
    weights = dict(network.model.weights())
    name = next(n for n, w in weights.items() if w.shape == (2, 2))
    digest = network.digest()
    with pytest.raises(ArgumentError, match="depends on a product with guarantee='fast'"):
        network.load_weights({**weights, name: fast})
    assert network.digest() == digest
    call = library.library_kernel(library.DenseProduct(2, 2, 2, loom.f32, loom.f32))
    with pytest.raises(ArgumentError, match="a product with guarantee='fast' cannot be exported"):
        freeze_kernel(call)
    from loom.proof import attestation

    monkeypatch.setattr(attestation, "_judge", _judged_fast(a))
    assert any("no bit of them is vouched for" in each for each in loom.verify("cpu", layers=1, fresh=True).differing)
    monkeypatch.setenv("LOOM_DEVICE", "cpu")
    monkeypatch.setenv("LOOM_THREADS", "1")
    worker = DeviceWorker(0, "cpu", 1)
    answer, _ = worker._answer(lambda: loom.gpu_matmul(a, a, guarantee="fast").numpy(), wants_digest=True)
    assert "a result was computed with guarantee='fast'" in str(answer.error)
    answer, found = worker._answer(lambda: loom.gpu_matmul(a, a, guarantee="fast").numpy(), wants_digest=False)
    assert answer.error is None
    assert found.shape == (2, 2)


def _judged_fast(a: Any) -> Any:
    def judged(*_given: Any) -> tuple[str, None]:
        loom.gpu_matmul(a, a, guarantee="fast").numpy()
        return "", None

    return judged


def test_devices_tell_what_is_fast(gpu: CudaDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "pip install nvidia-cublas" in gpu.describe().limits["fast products"]
    monkeypatch.setattr(libraries, "version", lambda name: {"nvidia-cublas": "13.1"}.get(name) or _missing(name))
    assert gpu.describe().limits["fast products"] == "cublas 13.1"


def _missing(name: str) -> str:
    raise libraries.PackageNotFoundError(name)


@pytest.mark.parametrize("how", ["wrong", "stepped"])
def test_a_library_that_gets_a_known_product_wrong_is_refused(
    monkeypatch: pytest.MonkeyPatch, driver: Emulated, fake: FakeLibrary, how: str
) -> None:
    gpu = opened_over(monkeypatch, driver)
    if how == "wrong":
        fake.wrong = True
    else:  # as if the steps from batch to batch were the other operand's
        right = FakeLibrary.cublasGemmStridedBatchedEx
        swap = [*range(10), 14, *range(11, 14), 10, *range(15, 23)]
        monkeypatch.setattr(FakeLibrary, "cublasGemmStridedBatchedEx", lambda s, *g: right(s, *(g[k] for k in swap)))
    for _ in range(2):
        with pytest.raises(DeviceError, match=r"cublas computes DenseProduct.* wrongly"):
            loom.gpu_matmul(_whole(2, 2), _whole(2, 2), on=gpu, guarantee="fast")


@loom.kernel
def added(x: loom.In[loom.f32], y: loom.InOut[loom.f32]) -> None:
    i = loom.global_id()
    if i < len(y):
        y[i] = y[i] + x[i]


def test_what_is_written_from_them_says_so(gpu: CudaDevice, fake: FakeLibrary) -> None:
    a = tensor.array(_whole(4, 4), on=gpu)
    fast, exact = a.matmul(a, guarantee="fast"), a.matmul(a)

    def zeros() -> Any:
        return tensor.array(np.zeros((4, 4), np.float32), on=gpu)

    written, flat, part, other, parameter = zeros(), zeros(), zeros(), zeros(), tensor.parameter(a, on=gpu)
    added(fast, written)
    added(fast, flat.reshape((16,)))
    added(fast[0], part[1])
    added(exact, other)
    assert all(x.guarantee is loom.Guarantee.FAST for x in (written, written + 1, flat, part, part[0]))
    assert (other.guarantee, parameter.guarantee) == (loom.Guarantee.BIT_EXACT,) * 2
    added(a, written)
    assert written.guarantee is loom.Guarantee.FAST, "of what was there the rest stays"
    parameter.assign(fast)
    assert parameter.guarantee is loom.Guarantee.FAST
    assert tensor.parameter(fast, on=gpu).guarantee is loom.Guarantee.FAST
    parameter.assign(exact)
    assert parameter.guarantee is loom.Guarantee.BIT_EXACT
    chain = loom.Chain(gpu)
    for x in (exact, fast):
        chain.dispatch(added, [x, parameter])
        program = chain.build()
        program.run()
        assert program.guarantee is parameter.guarantee is x.guarantee
    chain.dispatch(added, [fast, parameter])
    with pytest.raises(DeviceError, match="the results cannot be promised so much"):
        chain.build(loom.Guarantee.BIT_EXACT)


def test_updates_from_them_say_so(gpu: CudaDevice, fake: FakeLibrary) -> None:
    fast, exact, later = (tensor.parameter(_whole(4, 4), on=gpu) for _ in range(3))
    x = tensor.input("x", (4, 4))
    product = fast - x.matmul(fast, guarantee="fast")
    steps = tensor.compile([x.sum()], updates={fast: product, exact: exact * 2}, on=gpu)
    follows = tensor.compile([later.sum()], updates={later: later + fast}, on=gpu)
    assert steps.guarantee is loom.Guarantee.FAST
    assert follows.guarantee is loom.Guarantee.BIT_EXACT, "so far no parameter of it depends on a library"
    follows.run()
    steps.run(x=_whole(4, 4))
    assert (fast.guarantee, exact.guarantee, later.guarantee) == (
        loom.Guarantee.FAST, loom.Guarantee.BIT_EXACT, loom.Guarantee.BIT_EXACT,
    )  # fmt: skip
    follows.run()
    assert later.guarantee is follows.guarantee is loom.Guarantee.FAST
