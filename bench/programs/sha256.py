"""SHA-256 of one block a lane, the schedule of messages in a private array."""

from __future__ import annotations

from typing import Any

import numpy as np

import loom
from bench.programs.work import Work
from loom import In, Out, u32

MESSAGES = 1 << 17
START = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)


def _constants() -> tuple[int, ...]:
    """Return the first 32 bits of the fractions of the cube roots of the first 64 primes (FIPS 180-4, 4.2.2)."""
    primes = [p for p in range(2, 312) if all(p % q for q in range(2, p))]
    found = []
    for p in primes:
        root, shifted = 0, p << 96
        for bit in reversed(range(36)):
            if (root | 1 << bit) ** 3 <= shifted:
                root |= 1 << bit
        found.append(root & 0xFFFFFFFF)
    return tuple(found)


K = _constants()


def rotate(x, n):
    return x >> n | x << (32 - n)


def small0(x):
    return rotate(x, 7) ^ rotate(x, 18) ^ x >> 3


def small1(x):
    return rotate(x, 17) ^ rotate(x, 19) ^ x >> 10


def large0(x):
    return rotate(x, 2) ^ rotate(x, 13) ^ rotate(x, 22)


def large1(x):
    return rotate(x, 6) ^ rotate(x, 11) ^ rotate(x, 25)


@loom.kernel(workgroup=64)
def first(message: In[u32], digest: Out[u32], n: u32):
    i = loom.global_id()
    if i < n:
        w = loom.private(u32, 64)
        for t in loom.static_range(16):
            w[t] = message[i * 16 + t]
        for t in loom.static_range(16, 64):
            w[t] = w[t - 16] + small0(w[t - 15]) + w[t - 7] + small1(w[t - 2])
        a = u32(START[0])
        b = u32(START[1])
        c = u32(START[2])
        d = u32(START[3])
        e = u32(START[4])
        f = u32(START[5])
        g = u32(START[6])
        h = u32(START[7])
        for t in loom.static_range(64):
            t1 = h + large1(e) + (e & f ^ ~e & g) + K[t] + w[t]
            t2 = large0(a) + (a & b ^ a & c ^ b & c)
            h = g
            g = f
            f = e
            e = d + t1
            d = c
            c = b
            b = a
            a = t1 + t2
        digest[i * 8] = a + START[0]
        digest[i * 8 + 1] = b + START[1]
        digest[i * 8 + 2] = c + START[2]
        digest[i * 8 + 3] = d + START[3]
        digest[i * 8 + 4] = e + START[4]
        digest[i * 8 + 5] = f + START[5]
        digest[i * 8 + 6] = g + START[6]
        digest[i * 8 + 7] = h + START[7]


def step(a, b, c, d, e, f, g, h, k, w):
    """Return the eight numbers after one round."""
    t1 = h + large1(e) + (e & f ^ ~e & g) + k + w
    return t1 + large0(a) + (a & b ^ a & c ^ b & c), a, b, c, d + t1, e, f, g


@loom.kernel(workgroup=64)
def tuned(message: In[u32], digest: Out[u32], n: u32):  # noqa: PLR0915 (sixteen locals)
    """Words of all messages side by side, the schedule in sixteen locals."""
    i = loom.global_id()
    if i < n:
        w0 = message[i]
        w1 = message[1 * n + i]
        w2 = message[2 * n + i]
        w3 = message[3 * n + i]
        w4 = message[4 * n + i]
        w5 = message[5 * n + i]
        w6 = message[6 * n + i]
        w7 = message[7 * n + i]
        w8 = message[8 * n + i]
        w9 = message[9 * n + i]
        w10 = message[10 * n + i]
        w11 = message[11 * n + i]
        w12 = message[12 * n + i]
        w13 = message[13 * n + i]
        w14 = message[14 * n + i]
        w15 = message[15 * n + i]
        a, b, c, d = u32(START[0]), u32(START[1]), u32(START[2]), u32(START[3])
        e, f, g, h = u32(START[4]), u32(START[5]), u32(START[6]), u32(START[7])
        for r in loom.static_range(4):
            a, b, c, d, e, f, g, h = step(a, b, c, d, e, f, g, h, K[r * 16 + 0], w0)
            w0 = w0 + small0(w1) + w9 + small1(w14)
            a, b, c, d, e, f, g, h = step(a, b, c, d, e, f, g, h, K[r * 16 + 1], w1)
            w1 = w1 + small0(w2) + w10 + small1(w15)
            a, b, c, d, e, f, g, h = step(a, b, c, d, e, f, g, h, K[r * 16 + 2], w2)
            w2 = w2 + small0(w3) + w11 + small1(w0)
            a, b, c, d, e, f, g, h = step(a, b, c, d, e, f, g, h, K[r * 16 + 3], w3)
            w3 = w3 + small0(w4) + w12 + small1(w1)
            a, b, c, d, e, f, g, h = step(a, b, c, d, e, f, g, h, K[r * 16 + 4], w4)
            w4 = w4 + small0(w5) + w13 + small1(w2)
            a, b, c, d, e, f, g, h = step(a, b, c, d, e, f, g, h, K[r * 16 + 5], w5)
            w5 = w5 + small0(w6) + w14 + small1(w3)
            a, b, c, d, e, f, g, h = step(a, b, c, d, e, f, g, h, K[r * 16 + 6], w6)
            w6 = w6 + small0(w7) + w15 + small1(w4)
            a, b, c, d, e, f, g, h = step(a, b, c, d, e, f, g, h, K[r * 16 + 7], w7)
            w7 = w7 + small0(w8) + w0 + small1(w5)
            a, b, c, d, e, f, g, h = step(a, b, c, d, e, f, g, h, K[r * 16 + 8], w8)
            w8 = w8 + small0(w9) + w1 + small1(w6)
            a, b, c, d, e, f, g, h = step(a, b, c, d, e, f, g, h, K[r * 16 + 9], w9)
            w9 = w9 + small0(w10) + w2 + small1(w7)
            a, b, c, d, e, f, g, h = step(a, b, c, d, e, f, g, h, K[r * 16 + 10], w10)
            w10 = w10 + small0(w11) + w3 + small1(w8)
            a, b, c, d, e, f, g, h = step(a, b, c, d, e, f, g, h, K[r * 16 + 11], w11)
            w11 = w11 + small0(w12) + w4 + small1(w9)
            a, b, c, d, e, f, g, h = step(a, b, c, d, e, f, g, h, K[r * 16 + 12], w12)
            w12 = w12 + small0(w13) + w5 + small1(w10)
            a, b, c, d, e, f, g, h = step(a, b, c, d, e, f, g, h, K[r * 16 + 13], w13)
            w13 = w13 + small0(w14) + w6 + small1(w11)
            a, b, c, d, e, f, g, h = step(a, b, c, d, e, f, g, h, K[r * 16 + 14], w14)
            w14 = w14 + small0(w15) + w7 + small1(w12)
            a, b, c, d, e, f, g, h = step(a, b, c, d, e, f, g, h, K[r * 16 + 15], w15)
            w15 = w15 + small0(w0) + w8 + small1(w13)
        digest[i] = a + START[0]
        digest[n + i] = b + START[1]
        digest[2 * n + i] = c + START[2]
        digest[3 * n + i] = d + START[3]
        digest[4 * n + i] = e + START[4]
        digest[5 * n + i] = f + START[5]
        digest[6 * n + i] = g + START[6]
        digest[7 * n + i] = h + START[7]


C = """
#include <stdint.h>
static const uint32_t K[64] = {CONSTANTS};
static const uint32_t S[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab,
                              0x5be0cd19};
#define R(x, n) ((x) >> (n) | (x) << (32 - (n)))
void run(const uint32_t *message, uint32_t *digest, int64_t n) {
  #pragma omp parallel for
  for (int64_t i = 0; i < n; i++) {
    uint32_t w[64], s[8];
    for (int t = 0; t < 16; t++) w[t] = message[i * 16 + t];
    for (int t = 16; t < 64; t++)
      w[t] = w[t - 16] + (R(w[t - 15], 7) ^ R(w[t - 15], 18) ^ w[t - 15] >> 3) + w[t - 7]
           + (R(w[t - 2], 17) ^ R(w[t - 2], 19) ^ w[t - 2] >> 10);
    uint32_t a = S[0], b = S[1], c = S[2], d = S[3], e = S[4], f = S[5], g = S[6], h = S[7];
    for (int t = 0; t < 64; t++) {
      uint32_t t1 = h + (R(e, 6) ^ R(e, 11) ^ R(e, 25)) + ((e & f) ^ (~e & g)) + K[t] + w[t];
      uint32_t t2 = (R(a, 2) ^ R(a, 13) ^ R(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
      h = g; g = f; f = e; e = d + t1; d = c; c = b; b = a; a = t1 + t2;
    }
    s[0] = a; s[1] = b; s[2] = c; s[3] = d; s[4] = e; s[5] = f; s[6] = g; s[7] = h;
    for (int k = 0; k < 8; k++) digest[i * 8 + k] = s[k] + S[k];
  }
}
""".replace("CONSTANTS", ", ".join(f"{k}u" for k in K))


def _numba() -> Any:
    from numba import njit, prange

    u = np.uint32
    constants, begin = np.array(K, u), np.array(START, u)

    @njit
    def turn(x, n):
        return u(u(x >> u(n)) | u(x << u(32 - n)))

    @njit(parallel=True)
    def run(message, digest, n):
        for i in prange(n):
            w = np.empty(64, u)
            for t in range(16):
                w[t] = message[i * 16 + t]
            for t in range(16, 64):
                s0 = u(turn(w[t - 15], 7) ^ turn(w[t - 15], 18) ^ u(w[t - 15] >> u(3)))
                s1 = u(turn(w[t - 2], 17) ^ turn(w[t - 2], 19) ^ u(w[t - 2] >> u(10)))
                w[t] = u(w[t - 16] + s0 + w[t - 7] + s1)
            a, b, c, d, e, f, g, h = (
                begin[0], begin[1], begin[2], begin[3], begin[4], begin[5], begin[6], begin[7],
            )  # fmt: skip
            for t in range(64):
                choice = u(u(e & f) ^ u(u(~e) & g))
                t1 = u(h + u(turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + choice + constants[t] + w[t])
                t2 = u(u(turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + u(u(a & b) ^ u(a & c) ^ u(b & c)))
                h, g, f, e, d, c, b, a = g, f, e, u(d + t1), c, b, a, u(t1 + t2)
            digest[i * 8] = a + begin[0]
            digest[i * 8 + 1] = b + begin[1]
            digest[i * 8 + 2] = c + begin[2]
            digest[i * 8 + 3] = d + begin[3]
            digest[i * 8 + 4] = e + begin[4]
            digest[i * 8 + 5] = f + begin[5]
            digest[i * 8 + 6] = g + begin[6]
            digest[i * 8 + 7] = h + begin[7]

    return run


def work() -> Work:
    """Return the program."""
    made = Work("sha-256")
    rng = np.random.default_rng(13)
    message = rng.integers(0, 1 << 32, (MESSAGES, 16), np.uint32)
    columns = np.ascontiguousarray(message.T).ravel()
    flat = message.ravel()
    outs = [np.zeros(MESSAGES * 8, np.uint32) for _ in range(4)]
    made.loom("first", outs[0], (first, [flat, outs[0]], [MESSAGES], MESSAGES // 64))
    apart = (tuned, [columns, outs[3]], [MESSAGES], MESSAGES // 64)
    made.loom("tuned", outs[3].reshape(8, -1).T.ravel, apart)
    made.numba(_numba, [flat, outs[1], MESSAGES], outs[1])
    made.c(C, [flat, outs[2], MESSAGES], outs[2])
    return made
