/* SHA-256 (FIPS 180-4). */

typedef struct {
  u32 h[8];
  u8 block[64];
  u64 nbytes;
} Sha;

static const u32 SHA_K[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, 0xd807aa98,
    0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786,
    0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8,
    0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
    0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819,
    0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a,
    0x5b9cca4f, 0x682e6ff3, 0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
    0xc67178f2};

static u32 turn(u32 x, int by) { return x >> by | x << (32 - by); }

static void sha_block(Sha *s) {
  u32 w[64], v[8];
  for (int i = 0; i < 16; i++)
    w[i] = (u32)s->block[4 * i] << 24 | s->block[4 * i + 1] << 16 | s->block[4 * i + 2] << 8 | s->block[4 * i + 3];
  for (int i = 16; i < 64; i++)
    w[i] = w[i - 16] + w[i - 7] + (turn(w[i - 15], 7) ^ turn(w[i - 15], 18) ^ w[i - 15] >> 3) +
           (turn(w[i - 2], 17) ^ turn(w[i - 2], 19) ^ w[i - 2] >> 10);
  for (int i = 0; i < 8; i++) v[i] = s->h[i];
  for (int i = 0; i < 64; i++) {
    u32 a = v[7] + (turn(v[4], 6) ^ turn(v[4], 11) ^ turn(v[4], 25)) + ((v[4] & v[5]) ^ (~v[4] & v[6])) + SHA_K[i] + w[i];
    u32 b = (turn(v[0], 2) ^ turn(v[0], 13) ^ turn(v[0], 22)) + ((v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]));
    for (int k = 7; k > 0; k--) v[k] = v[k - 1];
    v[4] += a;
    v[0] = a + b;
  }
  for (int i = 0; i < 8; i++) s->h[i] += v[i];
}

static void sha_add(Sha *s, const void *data, u64 n) {
  const u8 *at = data;
  for (u64 i = 0; i < n; i++) {
    s->block[s->nbytes++ & 63] = at[i];
    if (!(s->nbytes & 63)) sha_block(s);
  }
}

static void sha_end(Sha *s, u8 out[32]) {
  u64 bits = s->nbytes * 8;
  u8 pad = 0x80, zero = 0, length[8];
  sha_add(s, &pad, 1);
  while ((s->nbytes & 63) != 56) sha_add(s, &zero, 1);
  for (int i = 0; i < 8; i++) length[i] = (u8)(bits >> (56 - 8 * i));
  sha_add(s, length, 8);
  for (int i = 0; i < 32; i++) out[i] = (u8)(s->h[i / 4] >> (24 - 8 * (i & 3)));
}

static const Sha SHA_START = {
    {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19}, {0}, 0};
