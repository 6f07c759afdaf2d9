"""What scipy and scikit-learn make of tensors: their results beside those of numpy's arrays, as lines of text.

Run by ``test_array_api_users.py`` in a process of its own, as scipy reads ``SCIPY_ARRAY_API`` when it is imported.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from loom import tensor

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 5))
Y = X @ RNG.normal(size=5) + 0.1 * RNG.normal(size=40)
C = (Y > 0).astype(int)
_OF_F32 = ("accuracy",)
"""Computed in the default type of floats, which is f32 here."""
Make = Callable[[Any], Any]


def of_scipy() -> dict[str, Callable[[Make], Any]]:
    """Return calls of scipy by name."""
    from scipy import cluster, fft, integrate, ndimage, signal, special, stats

    return {
        "expit": lambda a: special.expit(a(X)), "gammaln": lambda a: special.gammaln(a(abs(X))),
        "logsumexp": lambda a: special.logsumexp(a(X), axis=1), "softmax": lambda a: special.softmax(a(X), axis=1),
        "zscore": lambda a: stats.zscore(a(X)), "skew": lambda a: stats.skew(a(X)),
        "kurtosis": lambda a: stats.kurtosis(a(X)), "gmean": lambda a: stats.gmean(a(abs(X))),
        "ttest_ind": lambda a: stats.ttest_ind(a(X[:20]), a(X[20:])).pvalue,
        "pearsonr": lambda a: stats.pearsonr(a(X[:, 0]), a(X[:, 1])).statistic,
        "rfft": lambda a: fft.rfft(a(X)), "fftconvolve": lambda a: signal.fftconvolve(a(X[:, 0]), a(X[:, 1])),
        "detrend": lambda a: signal.detrend(a(X)), "gaussian_filter": lambda a: ndimage.gaussian_filter(a(X), 1.0),
        "whiten": lambda a: cluster.vq.whiten(a(X)), "trapezoid": lambda a: integrate.trapezoid(a(X)),
    }  # fmt: skip


def of_sklearn() -> dict[str, Callable[[Make], Any]]:
    """Return calls of scikit-learn by name."""
    from sklearn import decomposition, discriminant_analysis, linear_model, metrics, preprocessing

    return {
        "StandardScaler": lambda a: preprocessing.StandardScaler().fit_transform(a(X)),
        "MinMaxScaler": lambda a: preprocessing.MinMaxScaler().fit_transform(a(X)),
        "PCA": lambda a: decomposition.PCA(2, svd_solver="full").fit_transform(a(X)),
        "PCA by eigh": lambda a: decomposition.PCA(2, svd_solver="covariance_eigh").fit(a(X)).explained_variance_,
        "Ridge": lambda a: linear_model.Ridge(solver="svd").fit(a(X), a(Y)).coef_,
        "LDA": lambda a: discriminant_analysis.LinearDiscriminantAnalysis().fit(a(X), a(C)).predict(a(X)),
        "accuracy": lambda a: metrics.accuracy_score(a(C), a(np.roll(C, 1))),
        "mean squared error": lambda a: metrics.mean_squared_error(a(Y), a(np.roll(Y, 1))),
        "r2": lambda a: metrics.r2_score(a(Y), a(np.roll(Y, 1))),
        "cosine similarity": lambda a: metrics.pairwise.cosine_similarity(a(X), a(X)),
    }  # fmt: skip


def main() -> None:
    """Print for every call whether both results agree, and whether that of tensors is one."""
    from sklearn import config_context

    for name, call in (of_scipy() | of_sklearn()).items():
        with config_context(array_api_dispatch=name in of_sklearn()):
            try:
                wanted, found = call(np.asarray), call(lambda x: tensor.array(np.asarray(x)))
            except Exception as error:  # whatever they raise
                print(f"{name}: {type(error).__name__}: {error}")
                continue
        rtol = 1e-6 if name in _OF_F32 else 1e-9
        same = np.allclose(np.asarray(found), wanted, rtol=rtol, atol=1e-12)
        is_kept = isinstance(found, (tensor.Tensor, float))
        print(f"{name}: {'same' if same else 'another result'}{'' if is_kept else f', a {type(found).__name__}'}")


if __name__ == "__main__":
    main()
