"""The random streams of tensor/random.h once more, in NumPy.

Both languages draw initial weights and batches from here, so that the golden files need not hold
them. All values are multiples of 2^-15 times a power of two: exact in float and in double.
"""
import numpy as np

MASK32, MASK64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF


def _fnv1a(text):
    h = 14695981039346656037
    for byte in text.encode():
        h = ((h ^ byte) * 1099511628211) & MASK64
    return h


def _mix(z):  # the finaliser of SplitMix64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK64
    return z ^ (z >> 31)


def words(count, seed, purpose, a=0, b=0):
    """The first `count` 32-bit words of Stream(seed, purpose, a, b), as uint64: Philox 4x32-10."""
    key = _mix((seed + 0x9E3779B97F4A7C15) & MASK64) ^ _fnv1a(purpose)
    k0, k1 = key & MASK32, key >> 32
    blocks = (count + 3) // 4
    c0 = np.arange(blocks, dtype=np.uint64)
    c1, c2, c3 = (np.full(blocks, v, dtype=np.uint64) for v in (b, a & MASK32, a >> 32))
    low, shift = np.uint64(MASK32), np.uint64(32)
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c0, np.uint64(0xCD9E8D57) * c2
        c0, c1, c2, c3 = ((p1 >> shift) ^ c1 ^ np.uint64(k0), p1 & low,
                          (p0 >> shift) ^ c3 ^ np.uint64(k1), p0 & low)
        k0, k1 = (k0 + 0x9E3779B9) & MASK32, (k1 + 0xBB67AE85) & MASK32
    return np.stack([c0, c1, c2, c3], axis=1).reshape(-1)[:count]


def values(shape, seed, purpose, a=0, centre=0.0, spread=1.0):
    """centre + spread * v with v in [-1, 1): the upper 16 bits of each word, over 2^15, less 1."""
    count = int(np.prod(shape, dtype=np.int64))
    v = (words(count, seed, purpose, a) >> np.uint64(16)).astype(np.float64) / 32768 - 1
    return (centre + spread * v).reshape(shape)


def integers(shape, bound, seed, purpose, a=0):
    """In [0, bound): the upper 16 bits of each word modulo `bound`."""
    count = int(np.prod(shape, dtype=np.int64))
    w = words(count, seed, purpose, a) >> np.uint64(16)
    return (w % np.uint64(bound)).astype(np.int64).reshape(shape)
