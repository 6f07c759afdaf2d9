"""Linear algebra of matrices: determinants, inverses, systems, factors, powers, norms.

Layer: pytorch. Source: the docstrings of ``torch.linalg``; the algorithms are those of ``loom.tensor.linalg``.
Invariant: what PyTorch calls of a factorisation but does not tell in its documents (the factors of a determinant) is
given to nobody.
"""

from __future__ import annotations

from typing import Any

from loom import tensor as lt
from loom.core.dtype import lookup
from loom.pytorch.registry import Made, OpCall, operator
from loom.tensor.arrays.tensor import Tensor

__all__: list[str] = []

la: Any = lt.linalg
operator("linalg_svdvals", ignores=("driver",))(la.svdvals)
operator("linalg_matrix_exp", "matrix_exp")(la.expm)


def _no_errors(call: OpCall, x: Tensor) -> Tensor:
    """Return PyTorch's note of failures, which says that there are none."""
    return call.full(x.shape[:-2], 0, lookup("i32"))


@operator("linalg_det", "det", "_linalg_det")
def _det(call: OpCall, x: Tensor) -> Made:
    found = la.det(x)
    return [found, None, None] if call.base == "_linalg_det" else found


@operator("linalg_slogdet", "slogdet", "_linalg_slogdet")
def _slogdet(call: OpCall, x: Tensor) -> Made:
    sign, size = la.slogdet(x)
    return [sign, size, None, None] if call.base == "_linalg_slogdet" else [sign, size]


@operator("logdet")
def _logdet(x: Tensor) -> Made:
    sign, size = la.slogdet(x)
    return lt.where(lt.less(sign, 0), lt.full_like(size, float("nan")), size)


@operator("linalg_inv", "inverse", "linalg_inv_ex", ignores=("check_errors",))
def _inverse(call: OpCall, x: Tensor) -> Made:
    return [la.inv(x), _no_errors(call, x)] if call.base == "linalg_inv_ex" else la.inv(x)


@operator("linalg_solve", "linalg_solve_ex", "_linalg_solve_ex", ignores=("check_errors",))
def _solve(call: OpCall, a: Tensor, b: Tensor) -> Made:
    is_vector = b.ndim == 1 or (a.ndim - 1 == b.ndim and b.shape == a.shape[:-1])
    if not call.flag("left", True):
        if is_vector:
            raise call.refusal("vectors from the right", expected="left=True", got=b.shape)
        found = _transpose(la.solve(_transpose(a), _transpose(b)))
    else:
        b = lt.expand_dims(b, -1) if is_vector else b
        found = la.solve(a, b)
        found = lt.reshape(found, found.shape[:-1]) if is_vector else found
    if call.base == "linalg_solve":
        return found
    note = _no_errors(call, a)
    return [found, note] if call.base == "linalg_solve_ex" else [found, None, None, note]


def _transpose(x: Tensor) -> Tensor:
    return lt.transpose(x, -1, -2)


@operator("linalg_solve_triangular")
def _solve_triangular(call: OpCall, a: Tensor, b: Tensor) -> Made:
    upper = call.flag("upper")
    a = lt.triu(a) if upper else lt.tril(a)
    if call.flag("unitriangular"):
        ones = call.array([[i == j for j in range(a.shape[-1])] for i in range(a.shape[-1])])
        a = lt.where(ones, lt.ones_like(a), a)
    if call.flag("left", True):
        return la.solve_triangular(a, b, upper=upper)
    return _transpose(la.solve_triangular(_transpose(a), _transpose(b), upper=not upper))


@operator("linalg_cholesky", "cholesky", "linalg_cholesky_ex", ignores=("check_errors",))
def _cholesky(call: OpCall, x: Tensor) -> Made:
    found = la.cholesky(x, upper=call.flag("upper"))
    return [found, _no_errors(call, x)] if call.base == "linalg_cholesky_ex" else found


@operator("cholesky_solve")
def _cholesky_solve(call: OpCall, b: Tensor, factor: Tensor) -> Made:
    upper = call.flag("upper")
    lower = _transpose(factor) if upper else factor
    return la.solve_triangular(_transpose(lower), la.solve_triangular(lower, b), upper=True)


@operator("linalg_qr", "qr")
def _qr(call: OpCall, x: Tensor) -> Made:
    mode = call.value("mode", "reduced") if call.base == "linalg_qr" else (
        "reduced" if call.flag("some", True) else "complete")  # fmt: skip
    if mode == "r":
        raise call.refusal("the factor R alone is not done", expected='mode="reduced" or "complete"', got=mode)
    return list(la.qr(x, mode=mode))


@operator("linalg_svd", "_linalg_svd", "svd", ignores=("driver", "compute_uv"))
def _svd(call: OpCall, x: Tensor) -> Made:
    full = not call.flag("some", True) if call.base == "svd" else call.flag("full_matrices", call.base == "linalg_svd")
    u, s, vh = la.svd(x, full_matrices=full)
    return [u, s, _transpose(vh) if call.base == "svd" else vh]


@operator("linalg_eigh", "_linalg_eigh", "linalg_eigvalsh", ignores=("compute_v",))
def _eigh(call: OpCall, x: Tensor) -> Made:
    if x.dtype.is_complex:
        raise call.refusal("of complex matrices", expected="real ones", got=x.dtype)
    x = x if call.value("UPLO", "L") == "L" else _transpose(x)
    return la.eigvalsh(x) if call.base == "linalg_eigvalsh" else list(la.eigh(x))


@operator("linalg_matrix_power", "matrix_power")
def _power(call: OpCall, x: Tensor) -> Made:
    return la.matrix_power(x, call.integer("n"))


@operator("linalg_pinv", "pinverse")
def _pseudo_inverse(call: OpCall) -> Made:
    if call.flag("hermitian"):
        raise call.refusal("of matrices that are called symmetric", expected="hermitian=False", got=True)
    x, least = call.tensor(), call.value("rtol", call.value("rcond"))
    absolute = call.value("atol")
    if absolute is not None and not (isinstance(absolute, (int, float)) and absolute == 0):
        raise call.refusal("an absolute tolerance", expected="rtol=", got=absolute)
    return la.pinv(
        x, rtol=None if least is None else call.number_of(least, "rtol") if isinstance(least, Tensor) else least
    )


@operator("linalg_multi_dot", "chain_matmul")
def _chain(call: OpCall) -> Made:
    parts = call.tensors("matrices" if call.base == "chain_matmul" else "tensors")
    found = parts[0]
    for part in parts[1:]:
        found = lt.matmul(found, part)
    return found


@operator("trace")
def _trace(call: OpCall, x: Tensor) -> Made:
    return lt.cast(la.trace(x), call.out)


@operator("linalg_matrix_norm")
def _matrix_norm(call: OpCall, x: Tensor) -> Made:
    (a, b) = call.axes("dim", call.tensor().ndim) or (-2, -1)
    dtype = call.dtype()
    x = lt.moveaxis(x if dtype is None else lt.cast(x, dtype), (a, b), (-2, -1))
    found = la.matrix_norm(x, ord=call.value("ord"))
    if not call.flag("keepdim"):
        return found
    for axis in sorted((a, b)):
        found = lt.expand_dims(found, axis)
    return found


@operator("kron")
def _kron(a: Tensor, b: Tensor) -> Made:
    rank = max(a.ndim, b.ndim)
    one, two = ((*(1,) * (rank - x.ndim), *x.shape) for x in (a, b))
    spread = lt.reshape(a, tuple(n for m in one for n in (m, 1))) * lt.reshape(b, tuple(n for m in two for n in (1, m)))
    return lt.reshape(spread, tuple(m * n for m, n in zip(one, two, strict=True)))


@operator("block_diag")
def _block_diag(call: OpCall) -> Made:
    parts = [lt.reshape(p, (1,) * (2 - p.ndim) + p.shape) for p in call.tensors()]
    width, at, rows = sum(p.shape[1] for p in parts), 0, list[Any]()
    for part in parts:
        after = width - at - part.shape[1]
        rows.append(lt.pad(lt.cast(part, call.out), [(0, 0), (at, after)]) if at or after else lt.cast(part, call.out))
        at += part.shape[1]
    return lt.concat(rows, 0)
