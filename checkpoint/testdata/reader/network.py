"""Networks of .bnz files: checkpoint/FORMAT.md, sections 2.1, 4 and 6.

A network is a list of units, dicts with the fields of section 2.1. Everything is
computed in float64.
"""

import math
import re

import numpy as np


class Network:
    """The units of a network, and the shapes of its tensors by name."""

    def __init__(self, header):
        self.input, self.classes = header["input"], header["classes"]
        self.units = header["network"]["units"] if "network" in header else named(header)
        self.shapes = {}       # of weights, biases, gammas and betas
        self.norms = {}        # channels of each BatchNorm
        self.convolutions = []  # the units that are convolutions
        sizes = []  # channels, height and width of each unit's output
        for i, u in enumerate(self.units):
            if not -1 <= u.get("in", 0) < i:
                raise ValueError(f"unit {i} reads a unit that is not before it")
            c, h, w = self.input if u.get("in", 0) < 0 else sizes[u.get("in", 0)]
            k, s, p, o = u["kernel"], u.get("stride", 1), u.get("pad", 0), u["channels"]
            sizes.append((o, (h + 2 * p - k) // s + 1, (w + 2 * p - k) // s + 1))
            if u.get("op"):
                if o != c:
                    raise ValueError(f"the pool {u['name']} changes the number of channels")
            else:
                self.convolutions.append(u)
                self.shapes[u["name"] + ".weight"] = (o, c, k, k)
                if u.get("bias"):
                    self.shapes[u["name"] + ".bias"] = (o,)
            if u.get("bn"):
                self.norms[u["bn"]] = o
                if not u.get("no_scale"):
                    self.shapes[u["bn"] + ".weight"] = (o,)
                if not u.get("no_shift"):
                    self.shapes[u["bn"] + ".bias"] = (o,)
            if u.get("add"):
                add = u["add"]
                if not 0 <= add["from"] < i:
                    raise ValueError(f"unit {i} adds a unit that is not before it")
                (c, h, w), stride = sizes[add["from"]], 1
                if add["kind"] == "mapped":
                    stride, c = add["stride"], len(add["source"])
                if (c, -(-h // stride), -(-w // stride)) != sizes[i]:
                    raise ValueError(f"the residual of unit {i} has another shape")
        self.features = sizes[-1][0]
        self.shapes["fc.weight"] = (self.classes, self.features)
        self.shapes["fc.bias"] = (self.classes,)

    def forward(self, x, tensors, statistics, eps, collect=None):
        """Logits, N×classes, of inputs x, N×C×H×W.

        With collect, a dict, BatchNorms use the statistics of x, and their mean and
        unbiased variance are added to collect's lists.
        """
        outputs = []
        for u in self.units:
            y = x if u.get("in", 0) < 0 else outputs[u.get("in", 0)]
            y = pool(y, u) if u.get("op") else convolution(y, u, tensors)
            bn = u.get("bn")
            if bn:
                if collect is None:
                    mean, var = (statistics[f"{bn}.running_{s}"] for s in ("mean", "var"))
                else:
                    mean, var = y.mean((0, 2, 3)), y.var((0, 2, 3))
                    n = y.size // y.shape[1]
                    collect.setdefault(bn + ".running_mean", []).append(mean)
                    collect.setdefault(bn + ".running_var", []).append(var * n / max(n - 1, 1))
                gamma = 1.0 if u.get("no_scale") else per_channel(tensors[bn + ".weight"])
                beta = 0.0 if u.get("no_shift") else per_channel(tensors[bn + ".bias"])
                y = gamma * (y - per_channel(mean)) / np.sqrt(per_channel(var) + eps) + beta
            if u.get("add"):
                y = y + residual(outputs[u["add"]["from"]], u["add"])
            outputs.append(np.maximum(y, 0) if u.get("relu") else y)
        weight = tensors["fc.weight"].astype(np.float64)
        return outputs[-1].mean((2, 3)) @ weight.T + tensors["fc.bias"]

    def estimate(self, batches, tensors, eps):
        """The running statistics of section 6, from batches of inputs."""
        collect = {}
        for x in batches:
            self.forward(x, tensors, None, eps, collect)
        return {name: np.mean(values, axis=0) for name, values in collect.items()}


def per_channel(v):
    return v.astype(np.float64)[:, None, None]


def windows(x, u, fill):
    """The windows that a unit reads: N×C×H×W×kernel×kernel, H and W of its output."""
    k, s, p = u["kernel"], u.get("stride", 1), u.get("pad", 0)
    x = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)), constant_values=fill)
    return np.lib.stride_tricks.sliding_window_view(x, (k, k), (2, 3))[:, :, ::s, ::s]


def convolution(x, u, tensors):
    weight = tensors[u["name"] + ".weight"].astype(np.float64)
    y = np.tensordot(windows(x, u, 0), weight, ((1, 4, 5), (1, 2, 3))).transpose(0, 3, 1, 2)
    return y + per_channel(tensors[u["name"] + ".bias"]) if u.get("bias") else y


def pool(x, u):
    if u["op"] == "max":
        return windows(x, u, -np.inf).max((4, 5))
    return windows(x, u, 0).mean((4, 5))


def residual(x, add):
    if add["kind"] != "mapped":
        return x
    x = x[:, :, ::add["stride"], ::add["stride"]]
    zeros = np.zeros_like(x[:, 0])
    return np.stack([zeros if c < 0 else x[:, c] for c in add["source"]], axis=1)


# Networks by name, section 4.


class Builder:
    """Appends units to a network, with the header's variants applied."""

    def __init__(self, header):
        self.units = []
        self.width = header.get("width", 0)
        self.norms = header.get("bn", "") != "none"
        self.every = header.get("bn_every", 0)
        self.option = header["shortcut"]
        self.without = [[glob(p) for p in header.get(key, "").split(",") if p]
                        for key in ("no_scale", "no_shift")]
        self.input_channels = header["input"][0]
        self.counted = -1  # convolutions so far without those of shortcuts; the first is number -1

    def channels(self, unit):
        return self.input_channels if unit < 0 else self.units[unit]["channels"]

    def scaled(self, channels):
        if self.width:
            channels = max(1, math.floor(channels * self.width + 0.5))
        if channels > 4096:
            raise ValueError(f"a layer of {channels} channels")
        return channels

    def append(self, **unit):
        if unit.get("bn"):
            for key, patterns in zip(("no_scale", "no_shift"), self.without):
                unit[key] = any(p.fullmatch(unit["bn"]) for p in patterns)
        self.units.append(unit)
        return len(self.units) - 1

    def convolution(self, name, bn, read, channels, kernel, stride=1, pad=0, **unit):
        if not unit.get("shortcut"):
            if self.every and self.counted >= 0 and self.counted % self.every:
                unit["bias"] |= bool(bn)
                bn = ""
            self.counted += 1
        if bn and not self.norms:
            bn, unit["bias"] = "", True
        return self.append(name=name, bn=bn, channels=self.scaled(channels), kernel=kernel,
                           stride=stride, pad=pad, **{"in": read}, **unit)

    def unit(self, name, bn, read, channels, kernel, stride=1, bias=False, **unit):
        """A convolution that keeps the size, or divides it by stride, with BatchNorm and ReLU."""
        unit.setdefault("relu", True)
        return self.convolution(name, bn, read, channels, kernel, stride, kernel // 2, bias=bias, **unit)

    def pool(self, op, read, kernel, stride, pad=0):
        return self.append(name=f"pool {len(self.units)}", op=op, channels=self.channels(read),
                           kernel=kernel, stride=stride, pad=pad, **{"in": read})

    def shortcut(self, name, bn, read, channels, stride, bias=False):
        """The residual of a block whose input has another shape than its output."""
        if bn and self.option != "B":
            n, m = self.channels(read), self.scaled(channels)
            first = (m - n) // 2 if self.option == "A-centred" else 0
            source = [-1] * first + list(range(n)) + [-1] * (m - n - first)
            return {"kind": "mapped", "from": read, "stride": stride, "source": source}
        unit = self.convolution(name, bn, read, channels, 1, stride, shortcut=True, bias=bias)
        return {"kind": "projection", "from": unit}


def glob(pattern):
    """A regular expression for a pattern of no_scale and no_shift."""
    special = {"*": "[^/]*", "?": "[^/]"}
    parts = re.findall(r"\[(?:\\.|[^]])*\]|\\.|.", pattern)
    return re.compile("".join(p if len(p) > 1 else special.get(p, re.escape(p)) for p in parts))


def identity(read):
    return {"kind": "identity", "from": read}


def named(header):
    """The units of the network that the header names."""
    b, name = Builder(header), header["arch"]
    if m := re.fullmatch(r"resnet-(\d+)-bottleneck", name):
        bottlenecks(b, depth(name, int(m[1]), 9))
    elif m := re.fullmatch(r"resnet-(\d+)", name):
        cifar(b, depth(name, int(m[1]), 6), 16)
    elif m := re.fullmatch(r"wrn-(\d+)-(\d+)", name):
        cifar(b, depth(name, int(m[1]), 6), 16 * int(m[2]))
    elif m := re.fullmatch(r"resnet(\d+)", name):
        blocks, bottleneck = TORCHVISION[int(m[1])]
        torchvision(b, blocks, bottleneck, header.get("stem", ""))
    elif m := re.fullmatch(r"resnet(\d+)-(\d+)-(\d+)-(\d+)(-bottleneck)?", name):
        torchvision(b, [int(n) for n in m.groups()[:4]], bool(m[5]), header.get("stem", ""))
    elif name == "vgg-38":
        vgg38(b)
    elif name in LAYERS:
        layers(b, LAYERS[name])
    else:
        raise ValueError(f"no network is called {name!r}")
    return b.units


def depth(name, n, convolutions):
    d, rest = divmod(n - 2, convolutions)
    if rest or d < 1:
        raise ValueError(f"{name} has no whole number of blocks")
    return d


def cifar(b, d, width):
    x = b.unit("conv", "bn", -1, width, 3)
    for i in range(3 * d):
        block, channels = f"blocks.{i}", width << i // d
        stride = 2 if i in (d, 2 * d) else 1
        y = b.unit(block + ".conv1", block + ".bn1", x, channels, 3, stride)
        add = identity(x)
        if stride == 2:
            add = b.shortcut(block + ".shortcut.0", block + ".shortcut.1", x, channels, stride)
        x = b.unit(block + ".conv2", block + ".bn2", y, channels, 3, add=add)


def bottlenecks(b, d):
    x = b.unit("conv", "bn", -1, 16, 3, bias=True)
    for i in range(3 * d):
        block, (channels, wide) = f"blocks.{i}", ((16, 64), (64, 128), (128, 256))[i // d]
        stride = 2 if i in (d, 2 * d) else 1
        y = b.unit(block + ".conv1", block + ".bn1", x, channels, 1, bias=True)
        y = b.unit(block + ".conv2", block + ".bn2", y, channels, 3, stride, bias=True)
        add = identity(x)
        if i % d == 0:
            add = b.shortcut(block + ".shortcut.0", "", x, wide, stride, bias=True)
        x = b.unit(block + ".conv3", block + ".bn3", y, wide, 1, bias=True, add=add)
    if b.norms:
        b.append(name="last", bn="last_bn", op="average", channels=b.channels(x),
                 kernel=1, relu=True, **{"in": x})


TORCHVISION = {
    18: ((2, 2, 2, 2), False), 34: ((3, 4, 6, 3), False), 50: ((3, 4, 6, 3), True),
    101: ((3, 4, 23, 3), True), 152: ((3, 8, 36, 3), True), 200: ((3, 24, 36, 3), True),
}


def torchvision(b, blocks, bottleneck, stem):
    if stem == "cifar":
        x = b.unit("conv1", "bn1", -1, 64, 3)
    else:
        x = b.pool("max", b.unit("conv1", "bn1", -1, 64, 7, 2), 3, 2, 1)
    out = 0
    for stage, count in enumerate(blocks):
        for i in range(count):
            block, channels = f"layer{stage + 1}.{i}", 64 << stage
            stride = 2 if stage and not i else 1
            before, out = out or 64, 4 * channels if bottleneck else channels
            y = x
            if bottleneck:
                y = b.unit(block + ".conv1", block + ".bn1", y, channels, 1)
                y = b.unit(block + ".conv2", block + ".bn2", y, channels, 3, stride)
            else:
                y = b.unit(block + ".conv1", block + ".bn1", y, channels, 3, stride)
            last, kernel = ("3", 1) if bottleneck else ("2", 3)
            add = identity(x)
            if stride != 1 or before != out:
                add = b.shortcut(block + ".downsample.0", block + ".downsample.1", x, out, stride)
            x = b.unit(block + ".conv" + last, block + ".bn" + last, y, out, kernel, add=add)


LAYERS = {
    "vgg-11": "64 P 128 P 256 256 P 512 512 P 512 512",
    "vgg-13": "64 64 P 128 128 P 256 256 P 512 512 P 512 512",
    "vgg-16": "64 64 P 128 128 P 256 256 256 P 512 512 512 P 512 512 512",
    "vgg-19": "64 64 P 128 128 P 256 256 256 256 P 512 512 512 512 P 512 512 512 512",
    "convnet": "16 P 32 P 64",
}


def layers(b, text):
    x = -1
    for i, layer in enumerate(text.split()):
        if layer == "P":
            x = b.pool("max", x, 2, 2)
        else:
            x = b.unit(f"layers.{i}.conv", f"layers.{i}.bn", x, int(layer), 3, bias=True)


def vgg38(b):
    x = b.unit("input_conv.conv_0", "input_conv.bn_0", -1, 32, 3)
    for s in range(3):
        for i in range(6):
            reduction = i == 5
            block = f"reduction_block_{s}" if reduction else f"block_{s}_{i}"
            y = b.unit(block + ".conv_0", block + ".bn_0", x, 32, 3)
            add = identity(x)
            if reduction:
                y = b.pool("average", y, 2, 2)
                add = b.shortcut(block + ".conv_1_skip", "", x, 32, 2)
            x = b.unit(block + ".conv_1", block + ".bn_1", y, 32, 3, add=add)
