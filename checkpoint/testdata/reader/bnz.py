"""Reads a .bnz file: checkpoint/FORMAT.md, sections 1, 2, 5 and 6.

    bnz.py FILE [--pictures PICTURES.npy] [--train PICTURES.npy LABELS.npy]

prints as JSON the shape and the SHA-256 of each tensor of the network and, with --pictures,
the logits of these pictures (uint8, N×C×H×W). --train gives the published training split, for
files without running statistics.
"""

import argparse
import hashlib
import json
import math
import re
import shutil
import struct
import subprocess
import sys
from fractions import Fraction

import numpy as np

from network import Network
from streams import normals, permutation, uniforms

MAGIC = b"\x89BNZ\r\n\x1a\n"


class BadFile(ValueError):
    """A file that the format does not allow."""


def check(condition, message):
    if not condition:
        raise BadFile(message)


# The container, section 1.


def crc_table():
    table = []
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
        table.append(n)
    return table


TABLE = crc_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def decompressor():
    """A function that decompresses a zstd frame, by what this machine has."""
    try:
        from compression import zstd  # Python 3.14
        return zstd.decompress
    except ImportError:
        pass
    try:
        import zstandard
        return lambda frame: zstandard.ZstdDecompressor().decompressobj().decompress(frame)
    except ImportError:
        pass
    if not shutil.which("zstd"):
        sys.exit("bnz.py needs Python 3.14, the package zstandard or the program zstd")
    return lambda frame: subprocess.run(
        ["zstd", "-d", "-c", "-q"], input=frame, stdout=subprocess.PIPE, check=True).stdout


DECOMPRESS = decompressor()


def check_frame(data):
    """Checks that data is exactly one zstd frame without a dictionary, with a window of at most 8 MiB (RFC 8878)."""
    check(data[:4] == b"\x28\xb5\x2f\xfd" and len(data) > 5, "not a zstd frame")
    descriptor = data[4]
    check(descriptor & 3 == 0, "a zstd frame with a dictionary")
    single, content = descriptor >> 5 & 1, descriptor >> 6
    content_bytes = (single, 2, 4, 8)[content]
    offset = 5
    if not single:
        exponent, mantissa = data[5] >> 3, data[5] & 7
        window = (1 << 10 + exponent) // 8 * (8 + mantissa)
        offset += 1
    else:
        window = int.from_bytes(data[5:5 + content_bytes], "little") + (256 if content == 1 else 0)
    check(window <= 2**23, "a zstd window of more than 8 MiB")
    offset += content_bytes
    last = False
    while not last:
        check(offset + 3 <= len(data), "a zstd frame that ends early")
        block = int.from_bytes(data[offset:offset + 3], "little")
        last, kind, size = block & 1, block >> 1 & 3, block >> 3
        offset += 3 + (1 if kind == 1 else size)
    offset += 4 * (descriptor >> 2 & 1)
    check(offset == len(data), "a zstd frame that ends early, or bytes after it")


def decompress(frame, size):
    check_frame(frame)
    data = DECOMPRESS(frame)
    check(len(data) == size, f"a frame of {len(data)} bytes, not of {size}")
    return data


def container(data):
    """The header of a file as a dict, and a function that returns its tensors' bytes."""
    check(len(data) >= 76 and data[:8] == MAGIC, "not a .bnz file")
    version, h, h_full, h_crc, d, d_full, crc = struct.unpack("<IIIIQQI", data[8:44])
    check(version == 1, f"version {version}")
    check(crc32c(data[:40]) == crc, "the CRC of the prelude is wrong")
    check(h <= 2**24 and h_full <= 2**23 and d <= 2**34, "lengths beyond the limits")
    check(d_full <= min(2**33, 2**28 + 1024 * d), "lengths beyond the limits")
    check(len(data) == 76 + h + d, "the lengths do not add up to the file's")
    check(hashlib.sha256(data[:-32]).digest() == data[-32:], "the SHA-256 is wrong")
    stored = data[44:44 + h]
    check(crc32c(stored) == h_crc, "the CRC of the header is wrong")
    return parse_header(decompress(stored, h_full)), d_full, lambda: decompress(data[44 + h:-32], d_full)


# The header, section 2.

FIELDS = """arch shortcut input classes seed trainable stem width bn bn_every no_scale no_shift
network initialisers data normalisation statistics pruned provenance config state sections""".split()


def unique(pairs):
    keys = [key for key, _ in pairs]
    check(len(set(keys)) == len(keys), "a key twice in one object of the header")
    return dict(pairs)


def no_number(name):
    raise BadFile(f"{name} is not JSON")


def parse_header(data):
    check(sum(data.count(c) for c in b",[{") <= 2**19, "a header of too many values")
    header = json.loads(data.decode(), object_pairs_hook=unique, parse_constant=no_number)
    check(isinstance(header, dict), "the header is not an object")
    try:
        json.dumps(header, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise BadFile("half of a surrogate pair") from None
    for key in header:
        check(key in FIELDS or key.casefold() not in FIELDS, f"the key {key!r}")
    return header


def stored_tensors(header, size, data, network):
    """The tensors of a file as arrays, in a dict for each section."""
    limits = {"bn": (1e15,), "weights": (1e15,), "output": (1e15,), "stats": (1e18, 1e36),
              "optimizer": (math.inf,), "gradients": (math.inf,)}
    dtypes = {"f32": "<f4", "f64": "<f8"}
    sections, offset, known = {}, 0, 0
    for section in header["sections"] or []:
        name = section["name"]
        check(name not in sections, f"two sections called {name}")
        check(name in limits or not section["required"], f"the required section {name}")
        sections[name] = {}
        for t in section["tensors"]:
            shape = t["shape"]
            check(len(shape) <= 8 and all(n >= 1 for n in shape), f"the shape of {t['name']}")
            check(t["name"] not in sections[name], f"two tensors called {t['name']}")
            length = math.prod(shape) * np.dtype(dtypes[t["type"]]).itemsize
            sections[name][t["name"]] = (t, offset, length)
            offset += length
            known += length if name in limits else 0
    check(offset == size, "the sizes of the tensors do not add up")
    # Parameters, two moments, and in float64 statistics and gradients.
    required = sum(4 * 3 * math.prod(s) + 8 for s in network.shapes.values()) + 16 * sum(network.norms.values())
    check(known <= required + 2**20, "more tensors than the network has")
    data = data()
    for name, tensors in sections.items():
        for key, (t, offset, length) in tensors.items():
            bits = data[offset:offset + length]
            check(crc32c(bits) == t["crc32c"], f"the CRC of {key} is wrong")
            tensors[key] = a = np.frombuffer(bits, dtypes[t["type"]]).reshape(t["shape"])
            if name in limits:
                variance = name == "stats" and key.endswith("_var")
                check(np.all(np.abs(a) <= limits[name][variance]), f"a number in {key} is out of range")
                check(not variance or np.all(a >= 0), f"a negative variance in {key}")
    return sections


# Tensors that are not stored, section 5.


def float32(text):
    """The float32 nearest to a decimal number, rounded once; ties to even."""
    exact = Fraction(text)
    near = np.float32(float(text))
    around = (np.nextafter(near, np.float32(-np.inf)), near, np.nextafter(near, np.float32(np.inf)))
    return min(around, key=lambda f: (abs(Fraction(float(f)) - exact), f.view(np.uint32) & 1))


def root(numerator, fan_in):
    return np.float32(math.sqrt(numerator / fan_in))


def orthonormal(matrix):
    """Modified Gram–Schmidt in float64 of the rows or, if there are more of them, of the columns."""
    wide = matrix.shape[0] <= matrix.shape[1]
    v = np.array(matrix if wide else matrix.T, np.float64, order="C")

    def dots(a, b):  # of one vector with each row of b
        steps = -(-len(a) // 4)
        product = np.zeros((len(b), 4 * steps))
        product[:, :len(a)] = a * b
        s = np.add.accumulate(product.reshape(len(b), steps, 4), axis=1)[:, -1] + 0.0
        return (s[:, 0] + s[:, 1]) + (s[:, 2] + s[:, 3])

    for i in range(len(v)):
        v[i] /= np.sqrt(dots(v[i], v[i:i + 1]))
        v[i + 1:] -= dots(v[i], v[i + 1:])[:, None] * v[i]
    return (v if wide else v.T).astype(np.float32)


def draw(header, network, name):
    """A tensor of the network as the seed gives it."""
    seed, how, shape = header["seed"], header["initialisers"], network.shapes[name]
    check(how.get("generator") == "philox4x32-10", "another generator")
    count = math.prod(shape)
    one, two = np.float32(1), np.float32(2)
    norm, kind = name.rsplit(".", 1)
    if norm in network.norms:
        method = how["gamma" if kind == "weight" else "beta"]
        if method.startswith("constant:"):
            return np.full(shape, float32(method[len("constant:"):]))
        if method == "zero" and kind == "bias" or method == "one":
            return np.full(shape, np.float32(method == "one"))
        check(kind == "weight", f"beta by {method}")
        if method == "uniform":
            return uniforms(seed, name, count)
        if method == "uniform-symmetric":
            return two * uniforms(seed, name, count) - one
        check(method == "normal", f"gamma by {method}")
        return normals(seed, name, count)
    fan_in = math.prod(network.shapes[norm + ".weight"][1:])
    if kind == "bias":
        scale = np.float32(1 / math.sqrt(fan_in))
        return (two * uniforms(seed, name, count) - one) * scale
    method = how["weights"]
    if method == "he-normal":
        values = normals(seed, name, count) * root(2, fan_in)
    elif method == "he-uniform":
        values = (two * uniforms(seed, name, count) - one) * root(6, fan_in)
    elif method == "binary":
        s = root(2, fan_in)
        values = np.where(uniforms(seed, name, count) < 0.5, -s, s)
    else:
        check(method == "orthogonal", f"weights by {method}")
        values = orthonormal(normals(seed, name, count).reshape(shape[0], fan_in))
    return values.reshape(shape)


# Models.


class Model:
    """A network with its tensors (float32, by name) and, if stored, its running statistics."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self.header, size, data = container(file.read())
        self.network = Network(self.header)
        self.sections = stored_tensors(self.header, size, data, self.network)
        self.statistics = self.sections.get("stats")
        self.tensors = {}
        self.eps = self.header.get("normalisation", {}).get("bn_eps", 0) or 1e-5
        stored = {}
        for section in ("bn", "weights", "output"):
            stored.update(self.sections.get(section, {}))
        expected = self.trained()
        check(stored.keys() == expected.keys(), "not the tensors of the trainable set")
        for name, shape in self.network.shapes.items():
            if name in stored:
                check(stored[name].shape == expected[name] and stored[name].dtype == "<f4",
                      f"the shape or type of {name}")
            if expected.get(name) == shape:
                self.tensors[name] = stored[name]
            else:
                self.tensors[name] = draw(self.header, self.network, name)
            if name in stored and expected[name] != shape:
                self.overlay(name, stored[name])
        self.check_pruned()

    def trained(self):
        """The shapes of the stored tensors of `trainable`."""
        trainable, shapes, norms = self.header["trainable"], self.network.shapes, self.network.norms
        m = re.fullmatch(r"(?:(bn)\+)?random-([1-9][0-9]*)", trainable)
        sets = {m[1], "random"} if m else set(trainable.split("+"))
        check(sets <= {"all", "bn", "output", "shortcut", "gamma", "beta", "none", "random", None},
              f"trainable {trainable}")
        shortcuts = {u["name"] for u in self.network.convolutions if u.get("shortcut")}
        convolutions = {u["name"] for u in self.network.convolutions}
        result = {}
        for name, shape in shapes.items():
            unit, kind = name.rsplit(".", 1)
            if ("all" in sets
                    or unit in norms and ("bn" in sets or {"weight": "gamma", "bias": "beta"}[kind] in sets)
                    or unit == "fc" and "output" in sets
                    or unit in shortcuts and "shortcut" in sets):
                result[name] = shape
            elif unit in convolutions and kind == "weight" and "random" in sets:
                result[name] = (shape[0], min(int(m[2]), math.prod(shape[1:])))
        return result

    def overlay(self, name, stored):
        """Puts the stored weights of random-K where they belong."""
        rows = self.tensors[name].reshape(len(stored), -1)
        for o, row in enumerate(stored):
            chosen = permutation(self.header["seed"], f"chosen/{name}/{o}", rows.shape[1])
            rows[o, chosen[:len(row)]] = row

    def check_pruned(self):
        for bn, channels in self.header.get("pruned", {}).items():
            check(bn in self.network.norms, f"pruned channels of {bn}, which the network lacks")
            check(all(a < b for a, b in zip([-1] + channels, channels + [self.network.norms[bn]])),
                  f"the list of pruned channels of {bn}")
            gamma = self.tensors.get(bn + ".weight")
            check(gamma is not None and not gamma[channels].any(), f"a pruned channel of {bn} with a γ")

    def inputs(self, pictures):
        """Inputs of the network from pictures, uint8, N×C×H×W (section 6)."""
        normalisation = self.header["normalisation"]
        mean = np.array(normalisation["mean"])
        mean = mean[:, None, None] if mean.size == pictures.shape[1] else mean.reshape(pictures.shape[1:])
        return (pictures / 255 - mean) / np.array(normalisation["std"])[:, None, None]

    def estimate(self, pictures, labels):
        """Computes the running statistics from the published training split."""
        s, split = self.header["statistics"], select(self.header, labels)
        order = split[permutation(s["seed"], "shuffle/epoch/0", len(split))]
        batches = [order[i * s["batch"]:][:s["batch"]] for i in range(min(s["batches"], len(order) // s["batch"]))]
        self.statistics = self.network.estimate(
            (self.inputs(pictures[b]) for b in batches), self.tensors, self.eps)

    def logits(self, pictures):
        check(self.statistics is not None or not self.network.norms, "no running statistics: use --train")
        return self.network.forward(self.inputs(pictures), self.tensors, self.statistics, self.eps)


def select(header, labels):
    """The indices of the pictures of the published split that the network was trained on."""
    data, n = header.get("data", {}), len(labels)
    kept = np.ones(n, bool)
    if data.get("validation"):
        kept[permutation(header["seed"], "validation", n)[:data["validation"]]] = False
    rest = np.flatnonzero(kept)
    per_class = [rest[labels[rest] == c] for c in range(header["classes"])]
    if data.get("subset_per_class"):
        return np.sort(np.concatenate([c[:data["subset_per_class"]] for c in per_class]))
    if data.get("subset"):
        rounds = ((r, c, i) for c, list_ in enumerate(per_class) for r, i in enumerate(list_))
        return np.sort([i for _, _, i in sorted(rounds)[:data["subset"]]])
    return rest


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file")
    parser.add_argument("--pictures")
    parser.add_argument("--train", nargs=2)
    options = parser.parse_args()
    model = Model(options.file)
    result = {"tensors": {
        name: {"shape": t.shape, "sha256": hashlib.sha256(t.astype("<f4").tobytes()).hexdigest()}
        for name, t in model.tensors.items()}}
    if options.train:
        model.estimate(*(np.load(path) for path in options.train))
    if options.pictures:
        result["logits"] = model.logits(np.load(options.pictures)).tolist()
    print(json.dumps(result))


if __name__ == "__main__":
    main()
