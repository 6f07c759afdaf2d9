"""Chances of classes of the chances of pairs of them, as libsvm couples them.

Layer: kernels. Minimised is the sum over pairs of (r[j, i] p[i] - r[i, j] p[j])^2, by rounds that go through the
classes, until the largest error is below 0.005 / k, for 100 rounds at most (for k, of more classes). Invariant: a lane
does one sample, all of it in order.

Source: Wu, Lin and Weng, "Probability Estimates for Multi-class Classification by Pairwise Coupling", JMLR 5 (2004),
algorithm 2.
"""

from __future__ import annotations

from functools import cache

from loom.core.dtype import DType, u32
from loom.ir.frontend.base.annotations import In, Out
from loom.ir.frontend.decorator import KernelFunction, kernel
from loom.ir.frontend.intrinsics import global_id, private, select

__all__ = ["couple_pairs"]

_ROUNDS = 100
_ERROR = 0.005


@cache
def couple_pairs(classes: int, element: DType) -> KernelFunction:
    """Return the kernel (r, p, n): p (n, classes), of r (n, classes, classes): the chance of row's against column's.

    Of a class against itself ``r`` has 0.
    """
    rounds, least, even = max(_ROUNDS, classes), _ERROR / classes, 1 / classes

    @kernel(workgroup=64, trusted=True)
    def couple(r: In[element], p: Out[element], n: u32):
        sample = global_id()
        if sample < n:
            pairs, first = sample * (classes * classes), sample * classes
            square, slope = private(element, classes), private(element, classes)
            chance = private(element, classes)
            for i in range(classes):
                total = element(0)
                for j in range(classes):
                    total += r[pairs + j * classes + i] * r[pairs + j * classes + i]
                square[i] = total
                chance[i] = element(even)
            rest = u32(rounds)
            while rest > 0:
                mean = element(0)
                for i in range(classes):
                    total = element(0)
                    for j in range(classes):
                        both = r[pairs + j * classes + i] * r[pairs + i * classes + j]
                        total += select(i == j, square[i], -both) * chance[j]
                    slope[i] = total
                    mean += chance[i] * total
                error = element(0)
                for i in range(classes):
                    error = max(error, abs(slope[i] - mean))
                rest = rest - 1
                if error < element(least):
                    rest = u32(0)
                else:
                    for i in range(classes):
                        step = (mean - slope[i]) / square[i]
                        chance[i] = chance[i] + step
                        whole = 1 + step
                        mean = (mean + step * (step * square[i] + 2 * slope[i])) / whole / whole
                        for j in range(classes):
                            both = r[pairs + j * classes + i] * r[pairs + i * classes + j]
                            slope[j] = (slope[j] + step * select(i == j, square[i], -both)) / whole
                            chance[j] = chance[j] / whole
            for i in range(classes):
                p[first + i] = chance[i]

    return couple
