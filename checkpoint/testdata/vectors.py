#!/usr/bin/python3
"""Checks FORMAT.md's vectors of initial values and chosen weights.

usage: vectors.py [FORMAT.md]

Written from FORMAT.md and engine/rng/SPEC.md alone, in Python's float64, which
fuses nothing. Prints the lines as it computes them, and fails where one differs."""
import hashlib, math, os, re, struct, sys
import numpy as np

WORD = 2**32 - 1
F = float.fromhex
L = [F("0x1.3b13b13b13b14p-04"), F("0x1.745d1745d1746p-04"), F("0x1.c71c71c71c71cp-04"), F("0x1.2492492492492p-03"),
     F("0x1.999999999999ap-03"), F("0x1.5555555555555p-02"), 1.0]
S = [F("0x1.6124613a86d09p-33"), F("-0x1.ae64567f544e4p-26"), F("0x1.71de3a556c734p-19"), F("-0x1.a01a01a01a01ap-13"),
     F("0x1.1111111111111p-07"), F("-0x1.5555555555555p-03"), 1.0]
C = [F("0x1.1eed8eff8d898p-29"), F("-0x1.27e4fb7789f5cp-22"), F("0x1.a01a01a01a01ap-16"), F("-0x1.6c16c16c16c17p-10"),
     F("0x1.5555555555555p-05"), F("-0x1p-01"), 1.0]
LN2, TURN, HALF = F("0x1.62e42fefa39efp-01"), F("0x1.921fb54442d18p-30"), 0x3FE6A09E667F3BCD


def horner(coefficients, x):
    total = coefficients[0]
    for c in coefficients[1:]:
        total = total * x + c
    return total


class Stream:
    def __init__(self, seed, name):
        i = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
        self.key, self.id = (seed & WORD, seed >> 32), (i & WORD, i >> 32)

    def word(self, n):
        c0, c1, c2, c3 = (n >> 2) & WORD, n >> 34, *self.id
        k0, k1 = self.key
        for _ in range(10):
            p, q = 0xD2511F53 * c0, 0xCD9E8D57 * c2
            c0, c1, c2, c3 = (q >> 32) ^ c1 ^ k0, q & WORD, (p >> 32) ^ c3 ^ k1, p & WORD
            k0, k1 = (k0 + 0x9E3779B9) & WORD, (k1 + 0xBB67AE85) & WORD
        return (c0, c1, c2, c3)[n & 3]

    def uniform(self, n):
        return np.float32((self.word(n) >> 8) * 2.0**-24)

    def normal(self, n):
        w0, w1 = self.word(n & ~1), self.word(n | 1)
        b = struct.unpack("<Q", struct.pack("<d", (w0 + 0.5) * 2.0**-32))[0] + 0x3FF0000000000000 - HALF
        k = float((b >> 52) - 1023)
        m = struct.unpack("<d", struct.pack("<Q", (b & (2**52 - 1)) + HALF))[0]
        s = (m - 1) / (m + 1)
        r = math.sqrt(-2 * (k * LN2 + 2 * (s * horner(L, s * s))))
        j = ((w1 + 2**29) & WORD) >> 30
        d = (w1 - j * 2**30) & WORD
        x = ((d - 2**32 if d >= 2**31 else d) + 0.5) * TURN
        sine, cosine = horner(S, x * x) * x, horner(C, x * x)
        for _ in range(j):
            cosine, sine = -sine, cosine
        return np.float32(r * (sine if n & 1 else cosine))

    def permutation(self, n):
        p = [0] * n
        for i in range(n):
            j = ((self.word(2 * i) + (self.word(2 * i + 1) << 32)) * (i + 1)) >> 64
            p[i], p[j] = p[j], i
        return p


def dot(a, b):
    s = [0.0] * 4
    for j in range(len(a)):
        s[j % 4] += a[j] * b[j]
    return (s[0] + s[1]) + (s[2] + s[3])


def orthonormal(values, rows, columns):
    m = [[float(values[r * columns + c]) for c in range(columns)] for r in range(rows)]
    v = m if rows <= columns else [list(c) for c in zip(*m)]
    for i in range(len(v)):
        r = math.sqrt(dot(v[i], v[i]))
        v[i] = [x / r for x in v[i]]
        for k in range(i + 1, len(v)):
            d = dot(v[i], v[k])
            v[k] = [y - d * x for x, y in zip(v[i], v[k])]
    if rows > columns:
        v = zip(*v)
    return [np.float32(x) for row in v for x in row]


VGG16 = "64 64 P 128 128 P 256 256 256 P 512 512 512 P 512 512 512".split()


def shape(network, classes, tensor):
    """A tensor's shape in a network on pictures of 3 channels: any of a CIFAR
    ResNet, a convolution's of vgg-16, a shortcut's of resnet50."""
    if network == "vgg-16":
        layer, part = re.match(r"layers\.(\d+)\.conv\.(weight|bias)$", tensor).groups()
        into = [3] + [int(c) for c in VGG16[: int(layer)] if c != "P"]
        return (int(VGG16[int(layer)]), into[-1], 3, 3)[: 4 if part == "weight" else 1]
    if network == "resnet50":
        stage = int(re.match(r"layer(\d)\.0\.downsample\.0\.weight$", tensor)[1])
        return 128 << stage, 64 if stage == 1 else 64 << stage, 1, 1
    parts = network.split("-")
    depth, w = (int(parts[1]) - 2) // 6, 16 * int(parts[2] if len(parts) == 3 else 1)
    if tensor in ("fc.weight", "fc.bias"):
        return (classes, 4 * w)[: 2 if tensor == "fc.weight" else 1]
    if tensor == "conv.weight":
        return w, 3, 3, 3
    block = re.match(r"blocks\.(\d+)\.(.*)\.(weight|bias)$", tensor)
    if not block:
        return (w,)
    b = int(block[1])
    out = w << b // depth
    into = out // 2 if b % depth == 0 and b else out
    if block[2] == "shortcut.0":
        return out, into, 1, 1
    return {"conv1": (out, into, 3, 3), "conv2": (out, out, 3, 3)}.get(block[2], (out,))


def initial(by, seed, network, classes, tensor):
    of, stream = shape(network, classes, tensor), Stream(seed, tensor)
    n, f32 = math.prod(of), np.float32
    if tensor == "fc.bias" or tensor.endswith("conv.bias"):
        bound = f32(1 / math.sqrt(math.prod(shape(network, classes, tensor.replace("bias", "weight"))[1:])))
        return [(2 * stream.uniform(j) - 1) * bound for j in range(n)]
    if len(of) > 1:
        fan_in = n // of[0]
        s = f32(math.sqrt(2 / fan_in))
        if by == "orthogonal":
            return orthonormal([stream.normal(j) for j in range(n)], of[0], fan_in)
        return {
            "he-normal": lambda: [stream.normal(j) * s for j in range(n)],
            "he-uniform": lambda: [(2 * stream.uniform(j) - 1) * f32(math.sqrt(6 / fan_in)) for j in range(n)],
            "binary": lambda: [-s if stream.uniform(j) < 0.5 else s for j in range(n)],
        }[by]()
    if by.startswith("constant:"):
        return [f32(by[len("constant:"):])] * n
    return [{"uniform": stream.uniform, "uniform-symmetric": lambda j: 2 * stream.uniform(j) - 1, "normal": stream.normal,
             "zero": lambda j: f32(0), "one": lambda j: f32(1)}[by](j) for j in range(n)]


def compute(line):
    kind, *a = line.split(" -> ")[0].split()
    if kind == "chosen":
        of = shape(a[1], 10, a[2])
        n = math.prod(of[1:])
        k = min(int(a[3].split("-")[1]), n)
        return " ".join(str(i) for i in [o * n + p for o in range(-(-4 // k)) for p in Stream(int(a[0]), f"chosen/{a[2]}/{o}").permutation(n)[:k]][:4])
    if kind == "initial":
        a = ["he-normal" if a[3].endswith("fc.weight") or len(shape(a[1], int(a[2]), a[3])) > 1 else "zero" if a[3].endswith("bias") else "uniform"] + a
    v = np.array(initial(a[0], int(a[1]), a[2], int(a[3]), a[4]), "<f4")
    words = " ".join("%08x" % w for w in v[:4].view("<u4"))
    return words if kind == "initial" else words + " " + hashlib.sha256(v.tobytes()).hexdigest()


path = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "..", "FORMAT.md")
wrong = 0
for line in open(path, encoding="utf-8").read().split("\n"):
    if re.match("(initial|initial-by|chosen) .* -> ", line):
        said, got = line.split(" -> ")[1], compute(line)
        print(line.split(" -> ")[0], "->", got)
        wrong += said != got
sys.exit("%d lines differ" % wrong if wrong else 0)
