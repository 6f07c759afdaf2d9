"""The ten programs of ``programs_figures`` in CUDA C, as somebody writes them who knows CUDA: the peers, for NVRTC.

Each is its Loom kernel line by line: the same algorithm, launch shape and order of roundings; pointers are
``__restrict__``, indexes 32 bits. Numbers that a workgroup fixes are written out on both sides.
"""

from __future__ import annotations

from bench.programs.sha256 import START, K

__all__ = ["OPTIONS", "SOURCES"]

OPTIONS = ("--fmad=false",)
"""Of NVRTC: no contraction; division, roots and subnormals are exact unless they are asked not to be."""

STENCIL = """
__global__ void __launch_bounds__(256)
first(const float *__restrict__ a, float *__restrict__ b, unsigned w, unsigned h) {
  unsigned x = blockIdx.x * 16 + threadIdx.x, y = blockIdx.y * 16 + threadIdx.y;
  if (x < w && y < h) {
    unsigned i = y * w + x;
    if (x > 0 && x < w - 1 && y > 0 && y < h - 1) {
      float around = a[i - 1] + a[i + 1] + a[i - w] + a[i + w];
      b[i] = a[i] + 0.1f * (around - 4.0f * a[i]);
    } else
      b[i] = a[i];
  }
}
"""
NBODY = """
__global__ void __launch_bounds__(64)
first(const float4 *__restrict__ bodies, float4 *__restrict__ out, unsigned n) {
  unsigned i = blockIdx.x * 64 + threadIdx.x;
  if (i < n) {
    float4 me = bodies[i];
    float ax = 0, ay = 0, az = 0;
    for (unsigned j = 0; j < n; j++) {
      float4 other = bodies[j];
      float dx = other.x - me.x, dy = other.y - me.y, dz = other.z - me.z;
      float r2 = dx * dx + dy * dy + dz * dz + 0.01f;
      float inverse = 1.0f / sqrtf(r2);
      float s = other.w * (inverse * inverse * inverse);
      ax += dx * s;
      ay += dy * s;
      az += dz * s;
    }
    out[i] = make_float4(ax, ay, az, 0.0f);
  }
}
"""
BLACK_SCHOLES = """
__device__ float normal(float x) { return 0.5f * (1.0f + erff(x * 0.70710678f)); }
__global__ void __launch_bounds__(64)
first(const float *__restrict__ price, const float *__restrict__ strike, const float *__restrict__ years,
      float *__restrict__ call, float *__restrict__ put, unsigned n) {
  unsigned i = blockIdx.x * 64 + threadIdx.x;
  if (i < n) {
    float s = price[i], k = strike[i], t = years[i], spread = 0.3f * sqrtf(t);
    float d1 = (logf(s / k) + (0.02f + 0.5f * 0.3f * 0.3f) * t) / spread, d2 = d1 - spread;
    float later = k * expf(-0.02f * t);
    call[i] = s * normal(d1) - later * normal(d2);
    put[i] = later * normal(-d2) - s * normal(-d1);
  }
}
"""
SHA256 = """
__device__ constexpr unsigned K[64] = {CONSTANTS};
__device__ constexpr unsigned S[8] = {BEGIN};
#define R(x, n) ((x) >> (n) | (x) << (32 - (n)))
__global__ void __launch_bounds__(64)
first(const unsigned *__restrict__ message, unsigned *__restrict__ digest, unsigned n) {
  unsigned i = blockIdx.x * 64 + threadIdx.x;
  if (i < n) {
    unsigned w[64];
#pragma unroll
    for (int t = 0; t < 16; t++) w[t] = message[i * 16 + t];
#pragma unroll
    for (int t = 16; t < 64; t++)
      w[t] = w[t - 16] + (R(w[t - 15], 7) ^ R(w[t - 15], 18) ^ w[t - 15] >> 3) + w[t - 7]
           + (R(w[t - 2], 17) ^ R(w[t - 2], 19) ^ w[t - 2] >> 10);
    unsigned a = S[0], b = S[1], c = S[2], d = S[3], e = S[4], f = S[5], g = S[6], h = S[7];
#pragma unroll
    for (int t = 0; t < 64; t++) {
      unsigned t1 = h + (R(e, 6) ^ R(e, 11) ^ R(e, 25)) + ((e & f) ^ (~e & g)) + K[t] + w[t];
      unsigned t2 = (R(a, 2) ^ R(a, 13) ^ R(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
      h = g; g = f; f = e; e = d + t1; d = c; c = b; b = a; a = t1 + t2;
    }
    digest[i * 8] = a + S[0];
    digest[i * 8 + 1] = b + S[1];
    digest[i * 8 + 2] = c + S[2];
    digest[i * 8 + 3] = d + S[3];
    digest[i * 8 + 4] = e + S[4];
    digest[i * 8 + 5] = f + S[5];
    digest[i * 8 + 6] = g + S[6];
    digest[i * 8 + 7] = h + S[7];
  }
}
""".replace("CONSTANTS", ", ".join(f"{k}u" for k in K)).replace("BEGIN", ", ".join(f"{k}u" for k in START))
TRANSPOSE = """
__global__ void __launch_bounds__(256)
first(const float *__restrict__ x, float *__restrict__ y, unsigned rows, unsigned columns) {
  __shared__ float tile[16 * 17];
  unsigned i = threadIdx.x, j = threadIdx.y;
  unsigned column = blockIdx.x * 16 + i, row = blockIdx.y * 16 + j;
  if (row < rows && column < columns) tile[j * 17 + i] = x[row * columns + column];
  __syncthreads();
  column = blockIdx.y * 16 + i;
  row = blockIdx.x * 16 + j;
  if (row < columns && column < rows) y[row * rows + column] = tile[i * 17 + j];
}
"""
LEVENSHTEIN = """
__global__ void __launch_bounds__(64)
first(const unsigned char *__restrict__ a, const unsigned char *__restrict__ b, const unsigned *__restrict__ before,
      const unsigned *__restrict__ last, unsigned *__restrict__ now, unsigned d, unsigned low, unsigned n) {
  unsigned i = blockIdx.x * 64 + threadIdx.x + low;
  if (i <= d && i < n) {
    unsigned j = d - i;
    if (i == 0 || j == 0)
      now[i] = d;
    else {
      unsigned change = before[i - 1] + (a[i - 1] != b[j - 1]);
      now[i] = min(change, min(last[i - 1], last[i]) + 1);
    }
  }
}
"""
KMEANS = """
__global__ void __launch_bounds__(64) clear(long long *sums) { sums[blockIdx.x * 64 + threadIdx.x] = 0; }
__global__ void __launch_bounds__(256)
first(const float *__restrict__ px, const float *__restrict__ py, const float *__restrict__ cx,
      const float *__restrict__ cy, unsigned *__restrict__ label, unsigned long long *__restrict__ sums, unsigned k,
      unsigned n) {
  __shared__ unsigned long long totals[48];
  unsigned lane = threadIdx.x, i = blockIdx.x * 256 + lane;
  if (lane < 48) totals[lane] = 0;
  __syncthreads();
  if (i < n) {
    unsigned best = 0;
    float nearest = 1e30f;
    for (unsigned c = 0; c < k; c++) {
      float dx = px[i] - cx[c], dy = py[i] - cy[c], d = dx * dx + dy * dy;
      if (d < nearest) {
        nearest = d;
        best = c;
      }
    }
    label[i] = best;
    atomicAdd(&totals[best * 3], (unsigned long long)(long long)(px[i] * 65536.0f));
    atomicAdd(&totals[best * 3 + 1], (unsigned long long)(long long)(py[i] * 65536.0f));
    atomicAdd(&totals[best * 3 + 2], 1ull);
  }
  __syncthreads();
  if (lane < 48) atomicAdd(&sums[lane], totals[lane]);
}
"""
BLUR = """
__device__ float4 operator+(float4 a, float4 b) { return make_float4(a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w); }
__device__ float4 operator*(float4 a, float f) { return make_float4(a.x * f, a.y * f, a.z * f, a.w * f); }
__global__ void __launch_bounds__(256)
first(const float4 *__restrict__ image, float4 *__restrict__ out, int width, int height) {
  const float weights[5] = {0.0625f, 0.25f, 0.375f, 0.25f, 0.0625f};
  int x = blockIdx.x * 16 + threadIdx.x, y = blockIdx.y * 16 + threadIdx.y;
  if (x < width && y < height) {
    float4 total = make_float4(0, 0, 0, 0);
#pragma unroll
    for (int dy = 0; dy < 5; dy++)
#pragma unroll
      for (int dx = 0; dx < 5; dx++) {
        int px = min(max(x + dx - 2, 0), width - 1), py = min(max(y + dy - 2, 0), height - 1);
        total = total + image[py * width + px] * (weights[dx] * weights[dy]);
      }
    out[y * width + x] = total;
  }
}
"""
LIFE = """
__global__ void __launch_bounds__(256)
first(const unsigned *__restrict__ a, unsigned *__restrict__ b, unsigned w, unsigned h) {
  unsigned x = blockIdx.x * 16 + threadIdx.x, y = blockIdx.y * 16 + threadIdx.y;
  if (x < w && y < h) {
    unsigned left = x > 0 ? x - 1 : w - 1, right = x < w - 1 ? x + 1 : 0;
    unsigned up = y > 0 ? y - 1 : h - 1, down = y < h - 1 ? y + 1 : 0;
    unsigned n = a[up * w + left] + a[up * w + x] + a[up * w + right];
    n += a[y * w + left] + a[y * w + right];
    n += a[down * w + left] + a[down * w + x] + a[down * w + right];
    unsigned alive = a[y * w + x];
    b[y * w + x] = n == 3 || (n == 2 && alive == 1);
  }
}
"""
HISTOGRAM = """
__global__ void __launch_bounds__(256) clear(unsigned *bins) { bins[blockIdx.x * 256 + threadIdx.x] = 0; }
__global__ void __launch_bounds__(256)
first(const unsigned char *__restrict__ data, unsigned *__restrict__ bins, unsigned n) {
  __shared__ unsigned counts[256];
  unsigned lane = threadIdx.x;
  counts[lane] = 0;
  __syncthreads();
  for (unsigned i = blockIdx.x * 256 + lane; i < n; i += gridDim.x * 256) atomicAdd(&counts[data[i]], 1u);
  __syncthreads();
  atomicAdd(&bins[lane], counts[lane]);
}
"""
SOURCES = {
    name: f'extern "C" {{{source}}}' if name != "blur" else source.replace("__global__", 'extern "C" __global__')
    for name, source in (
        ("stencil", STENCIL), ("nbody", NBODY), ("black_scholes", BLACK_SCHOLES), ("sha256", SHA256),
        ("transpose", TRANSPOSE), ("levenshtein", LEVENSHTEIN), ("kmeans", KMEANS), ("blur", BLUR), ("life", LIFE),
        ("histogram", HISTOGRAM),
    )
}  # fmt: skip
"""By the name of the program's file: kernels ``first`` and, where sums start at zero, ``clear``."""
