"""Operators of classical models (``ai.onnx.ml``): scaling, encodings of numbers, linear models.

Layer: onnx. Invariant: labels that are texts are refused by name; scores are f32 as the standard says.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from loom import tensor as lt
from loom.onnx.registry import Made, NodeCall, operator
from loom.onnx.scores import TRANSFORMS, as_rows, class_labels, pick_labels, transform_scores
from loom.tensor.arrays.tensor import Tensor

__all__: list[str] = []

_ML = "ai.onnx.ml"
Numbers = np.ndarray[Any, Any]


def _row(call: NodeCall, numbers: Any, like: Tensor) -> Tensor:
    return call.array(np.asarray(numbers, np.float64), like.dtype)


@operator("Scaler", domain=_ML)
def _scaler(call: NodeCall) -> Made:
    x = lt.cast(call.tensor(0), "f32")
    offset, scale = call.reals("offset", [0.0]), call.reals("scale", [1.0])
    if any(len(part) not in (1, x.shape[-1] if x.ndim else 1) for part in (offset, scale)):
        raise call.refusal("not a number for each feature", expected=x.shape[-1:], got=(len(offset), len(scale)))
    return (x - _row(call, offset, x)) * _row(call, scale, x)


@operator("Binarizer", domain=_ML)
def _binarizer(call: NodeCall, x: Tensor) -> Made:
    return lt.cast(x > call.real("threshold", 0.0), x.dtype)


@operator("Normalizer", domain=_ML)
def _normalizer(call: NodeCall) -> Made:
    x = lt.cast(call.tensor(0), "f32")
    kind = call.text("norm", "MAX", ("MAX", "L1", "L2"))
    if kind == "MAX":
        size = lt.max(lt.abs(x), axis=-1, keepdims=True)
    elif kind == "L1":
        size = lt.sum(lt.abs(x), axis=-1, keepdims=True)
    else:
        size = lt.sqrt(lt.sum(x * x, axis=-1, keepdims=True))
    return lt.where(lt.equal(size, 0), x, x / size)


@operator("Imputer", domain=_ML)
def _imputer(call: NodeCall, x: Tensor) -> Made:
    floats, wholes = call.reals("imputed_value_floats", []), call.integers("imputed_value_int64s", [])
    missing_float, missing_int = call.real("replaced_value_float", 0.0), call.integer("replaced_value_int64", 0)
    values, missing = (floats, missing_float) if floats else (wholes, missing_int)
    if len(values) not in (1, x.shape[-1] if x.ndim else 1):
        raise call.refusal("not a number for each feature", expected=x.shape[-1:], got=len(values))
    is_missing = lt.isnan(x) if isinstance(missing, float) and math.isnan(missing) else lt.equal(
        x, lt.full((), missing, x.dtype, on=call.scope.device)
    )  # fmt: skip
    kind = np.float64 if x.dtype.is_float else np.int64
    return lt.where(is_missing, call.array(np.array(values, kind), x.dtype), x)


@operator("OneHotEncoder", domain=_ML)
def _one_hot_encoder(call: NodeCall, x: Tensor) -> Made:
    cats = call.integers("cats_int64s", [])
    if not cats or call.strings("cats_strings", []):
        raise call.refusal("categories that are texts", expected="cats_int64s", got="cats_strings")
    if not call.flag("zeros", 1):
        raise call.refusal("an unknown category would be an error, which a device cannot raise", expected="zeros 1",
                           got=0)  # fmt: skip
    whole = lt.cast(x, "i64")
    return lt.cast(lt.equal(lt.expand_dims(whole, -1), call.array(np.array(cats, np.int64))), "f32")


@operator("LabelEncoder", domain=_ML, since=2)
def _label_encoder(call: NodeCall, x: Tensor) -> Made:
    keys, values = (_table(call, side) for side in ("keys", "values"))
    if len(keys) != len(values) or not len(keys):
        raise call.refusal("keys and values do not fit", expected=len(keys), got=len(values))
    default = _default(call, values)
    first = np.sort(np.unique(keys, return_index=True)[1])[::1]
    keys, values = keys[first], values[first]
    is_nan = np.isnan(keys) if keys.dtype.kind == "f" else np.zeros(len(keys), bool)
    order = np.argsort(keys[~is_nan], kind="stable")
    known, given = keys[~is_nan][order], values[~is_nan][order]
    found: Any = lt.full(x.shape, default, _name_of(values), on=call.scope.device)
    if len(known):
        table, results = call.array(known, x.dtype), call.array(given)
        at = lt.clip(lt.cast(lt.searchsorted(table, lt.reshape(x, (-1,))), "i64"), 0, len(known) - 1)
        at = lt.reshape(at, x.shape)
        found = lt.where(lt.equal(lt.take(table, at, 0), x), lt.take(results, at, 0), found)
    if is_nan.any():
        found = lt.where(lt.isnan(x), lt.full((), values[is_nan][0].item(), found.dtype, on=call.scope.device), found)
    return found


def _table(call: NodeCall, side: str) -> Numbers:
    """Return keys or values as numbers."""
    if call.strings(f"{side}_strings", []):
        raise call.refusal(f"{side} that are texts", expected=f"{side}_int64s or {side}_floats", got=f"{side}_strings")
    if call.has(f"{side}_tensor"):
        return call.scope.read_tensor(call.proto(f"{side}_tensor")).reshape(-1)
    wholes, floats = call.integers(f"{side}_int64s", []), call.reals(f"{side}_floats", [])
    return np.array(wholes, np.int64) if wholes else np.array(floats, np.float32)


def _default(call: NodeCall, values: Numbers) -> Any:
    texts, whole, real = call.text("default_string", "_Unused"), call.integer("default_int64", -1), call.real(
        "default_float", -0.0
    )  # fmt: skip
    del texts
    if call.has("default_tensor"):
        return call.scope.read_tensor(call.proto("default_tensor")).reshape(-1)[0].item()
    return real if values.dtype.kind == "f" else whole


def _name_of(values: Numbers) -> str:
    from loom.core.dtype import of_numpy

    return of_numpy(values.dtype, "onnx, LabelEncoder").name


@operator("FeatureVectorizer", domain=_ML)
def _feature_vectorizer(call: NodeCall) -> Made:
    lengths = call.integers("inputdimensions", [])
    parts: list[Tensor] = []
    for i, x in enumerate(call.tensors()):
        rows = lt.cast(x if x.ndim == 2 else lt.reshape(x, (-1, 1)), "f32")
        wanted = lengths[i] if i < len(lengths) else rows.shape[1]
        cut = rows[:, : min(wanted, rows.shape[1])]
        parts.append(lt.pad(cut, [(0, 0), (0, wanted - cut.shape[1])]))
    return lt.concat(parts, 1)


@operator("LinearRegressor", domain=_ML)
def _linear_regressor(call: NodeCall) -> Made:
    x = as_rows(call.tensor(0))
    found = _affine(call, x, call.integer("targets", 1))
    return lt.cast(transform_scores(call, found), "f32")


def _affine(call: NodeCall, x: Tensor, rows: int) -> Tensor:
    coefficients, intercepts = call.reals("coefficients", []), call.reals("intercepts", [])
    if rows < 1 or len(coefficients) != rows * x.shape[1] or len(intercepts) not in (0, rows):
        raise call.refusal("coefficients do not fit", expected=f"{rows} x {x.shape[1]}",
                           got=f"{len(coefficients)}, {len(intercepts)} intercepts")  # fmt: skip
    matrix = np.array(coefficients, np.float64).reshape(rows, -1).T
    found = lt.matmul(x, call.array(np.ascontiguousarray(matrix), x.dtype))
    return found + _row(call, intercepts, x) if intercepts else found


@operator("LinearClassifier", domain=_ML, ignores=("multi_class",))
def _linear_classifier(call: NodeCall) -> Made:
    x = as_rows(call.tensor(0))
    labels = class_labels(call, "classlabels_ints")
    rows = len(call.reals("coefficients", [])) // max(x.shape[1], 1)
    scores = _affine(call, x, rows)
    if rows == 1 and labels is not None and len(labels) == 2:
        scores = lt.concat([-scores, scores], 1)
    is_none = call.text("post_transform", "NONE", TRANSFORMS) == "NONE"
    made = lt.cast(transform_scores(call, scores), "f32")
    if made.shape[1] > 1:
        return [pick_labels(call, labels, lt.argmax(made, -1)), made]
    is_first = made[:, 0] >= (0.0 if is_none else 0.5)
    first = labels[0] if labels else 1
    return [lt.cast(lt.where(is_first, lt.full((), first, "i64"), lt.full((), 0, "i64")), "i64"), made]
