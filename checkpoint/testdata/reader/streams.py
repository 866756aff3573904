"""Random streams of bnkit, version 1: engine/rng/SPEC.md.

Each numpy operation rounds once, so products and sums are never fused.
"""

import hashlib

import numpy as np

U = np.uint64


def philox(counter, key):
    """Philox4x32-10 (section 2): four arrays of words, as uint64, from four counters and two keys."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        p = U(0xD2511F53) * c0
        q = U(0xCD9E8D57) * c2
        c0, c1, c2, c3 = (
            (q >> U(32)) ^ c1 ^ U(k0), q & U(0xFFFFFFFF),
            (p >> U(32)) ^ c3 ^ U(k1), p & U(0xFFFFFFFF))
        k0 = (k0 + 0x9E3779B9) & 0xFFFFFFFF
        k1 = (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c0, c1, c2, c3


def words(seed, name, count):
    """Words 0 to count-1 of a stream (section 1), as uint64."""
    stream = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    block = np.arange((count + 3) // 4, dtype=U)
    ids = [np.full_like(block, half) for half in (stream & 0xFFFFFFFF, stream >> 32)]
    result = philox((block & U(0xFFFFFFFF), block >> U(32), *ids), (seed & 0xFFFFFFFF, seed >> 32))
    return np.stack(result, axis=1).reshape(-1)[:count]


def uniforms(seed, name, count):
    """Uniform numbers in [0, 1) (section 3), as float32."""
    return (words(seed, name, count) >> U(8)).astype(np.float32) * np.float32(2.0**-24)


LOGARITHM = [float.fromhex(h) for h in (
    "0x1.3b13b13b13b14p-04", "0x1.745d1745d1746p-04", "0x1.c71c71c71c71cp-04",
    "0x1.2492492492492p-03", "0x1.999999999999ap-03", "0x1.5555555555555p-02")] + [1.0]
SINE = [float.fromhex(h) for h in (
    "0x1.6124613a86d09p-33", "-0x1.ae64567f544e4p-26", "0x1.71de3a556c734p-19",
    "-0x1.a01a01a01a01ap-13", "0x1.1111111111111p-07", "-0x1.5555555555555p-03")] + [1.0]
COSINE = [float.fromhex(h) for h in (
    "0x1.1eed8eff8d898p-29", "-0x1.27e4fb7789f5cp-22", "0x1.a01a01a01a01ap-16",
    "-0x1.6c16c16c16c17p-10", "0x1.5555555555555p-05", "-0x1p-01")] + [1.0]
LN2 = float.fromhex("0x1.62e42fefa39efp-01")
TURN = float.fromhex("0x1.921fb54442d18p-30")
SQRTHALF = U(0x3FE6A09E667F3BCD)


def polynomial(coefficients, x):
    result = np.full_like(x, coefficients[0])
    for c in coefficients[1:]:
        result = result * x + c
    return result


def normals(seed, name, count):
    """Normal deviates (section 5), as float32."""
    w = words(seed, name, count + count % 2)
    w0, w1 = w[0::2], w[1::2]

    u = (w0.astype(np.float64) + 0.5) * 2.0**-32
    b = u.view(U) + (U(0x3FF0000000000000) - SQRTHALF)
    k = ((b >> U(52)).astype(np.int64) - 1023).astype(np.float64)
    m = ((b & U(0x000FFFFFFFFFFFFF)) + SQRTHALF).view(np.float64)
    s = (m - 1) / (m + 1)
    a = polynomial(LOGARITHM, s * s)
    r = np.sqrt(-2 * (k * LN2 + 2 * (s * a)))

    j = ((w1 + U(2**29)) & U(0xFFFFFFFF)) >> U(30)
    d = ((w1 - (j << U(30))) & U(0xFFFFFFFF)).astype(np.uint32).view(np.int32)
    x = (d.astype(np.float64) + 0.5) * TURN
    t = x * x
    j = j.astype(np.int64)
    sin, cos = polynomial(SINE, t) * x, polynomial(COSINE, t)
    cosine = np.choose(j, (cos, -sin, -cos, sin))
    sine = np.choose(j, (sin, cos, -sin, -cos))
    return np.stack((r * cosine, r * sine), axis=1).astype(np.float32).reshape(-1)[:count]


def permutation(seed, name, n):
    """The permutation of 0..n-1 (section 6), as a list."""
    w = words(seed, name, 2 * n).tolist()
    p = [0] * n
    for i in range(n):
        j = (w[2 * i] | w[2 * i + 1] << 32) * (i + 1) >> 64
        p[i] = p[j]
        p[j] = i
    return p
