#!/usr/bin/python3
"""Writes the golden values of one training step of a network, computed by PyTorch in float64.

usage: golden.py resnet8|imagenet|resnet50|plain OUT.safetensors

Weights, pictures and labels come from a hash that golden_test.go computes too,
so the file holds only results, in float32: logits, loss and the gradient of
every tensor, or for ResNet-50 a sample of it (see sampled)."""
import json, struct, sys, zlib
import numpy as np, torch, torch.nn as nn, torch.nn.functional as F

CLASSES = 10
SIZES = {"resnet8": (8, 3, 32), "imagenet": (8, 3, 64), "resnet50": (2, 3, 64), "plain": (8, 1, 28)}


def uniform(name, n):
    """n numbers in [0, 1), multiples of 2^-24, from a hash of name and index."""
    x = (np.arange(n, dtype=np.uint64) + np.uint64(zlib.crc32(name.encode()))).astype(np.uint32)
    x ^= x >> np.uint32(16); x *= np.uint32(0x7feb352d)
    x ^= x >> np.uint32(15); x *= np.uint32(0x846ca68b)
    x ^= x >> np.uint32(16)
    return ((x >> np.uint32(8)).astype(np.float32) / np.float32(1 << 24))


def value(name, shape):
    u = uniform(name, int(np.prod(shape)))
    if len(shape) == 1:
        return u.reshape(shape)  # gamma, beta, bias
    bound = np.float32(np.sqrt(6 / np.prod(shape[1:])))
    return ((2 * u - 1) * bound).reshape(shape)


class Block(nn.Module):
    def __init__(s, i, o, stride):
        super().__init__()
        s.conv1 = nn.Conv2d(i, o, 3, stride, 1, bias=False); s.bn1 = nn.BatchNorm2d(o)
        s.conv2 = nn.Conv2d(o, o, 3, 1, 1, bias=False); s.bn2 = nn.BatchNorm2d(o)
        s.shortcut = nn.Sequential()
        if stride != 1:
            s.shortcut = nn.Sequential(nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o))

    def forward(s, x):
        y = s.bn2(s.conv2(F.relu(s.bn1(s.conv1(x)))))
        return F.relu(y + s.shortcut(x))


class ResNet8(nn.Module):
    def __init__(s):
        super().__init__()
        s.conv = nn.Conv2d(3, 16, 3, 1, 1, bias=False); s.bn = nn.BatchNorm2d(16)
        s.blocks = nn.Sequential(Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2))
        s.fc = nn.Linear(64, CLASSES)

    def forward(s, x):
        return s.fc(s.blocks(F.relu(s.bn(s.conv(x)))).mean((2, 3)))


class Bottleneck(nn.Module):
    """torchvision's bottleneck, with the stride in the 3x3 convolution."""

    def __init__(s, i, narrow, wide, stride):
        super().__init__()
        s.conv1 = nn.Conv2d(i, narrow, 1, bias=False); s.bn1 = nn.BatchNorm2d(narrow)
        s.conv2 = nn.Conv2d(narrow, narrow, 3, stride, 1, bias=False); s.bn2 = nn.BatchNorm2d(narrow)
        s.conv3 = nn.Conv2d(narrow, wide, 1, bias=False); s.bn3 = nn.BatchNorm2d(wide)
        s.downsample = nn.Sequential()
        if stride != 1 or i != wide:
            s.downsample = nn.Sequential(nn.Conv2d(i, wide, 1, stride, bias=False), nn.BatchNorm2d(wide))

    def forward(s, x):
        y = F.relu(s.bn2(s.conv2(F.relu(s.bn1(s.conv1(x))))))
        return F.relu(s.bn3(s.conv3(y)) + s.downsample(x))


class ImageNet(nn.Module):
    """An ImageNet ResNet of three narrow bottlenecks."""

    def __init__(s):
        super().__init__()
        s.conv1 = nn.Conv2d(3, 8, 7, 2, 3, bias=False); s.bn1 = nn.BatchNorm2d(8)
        s.maxpool = nn.MaxPool2d(3, 2, 1)
        s.layer1 = nn.Sequential(Bottleneck(8, 4, 16, 1), Bottleneck(16, 4, 16, 1))
        s.layer2 = nn.Sequential(Bottleneck(16, 8, 32, 2))
        s.fc = nn.Linear(32, CLASSES)

    def forward(s, x):
        return s.fc(s.layer2(s.layer1(s.maxpool(F.relu(s.bn1(s.conv1(x)))))).mean((2, 3)))


class ResNet50(nn.Module):
    """torchvision's ResNet-50."""

    def __init__(s):
        super().__init__()
        s.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False); s.bn1 = nn.BatchNorm2d(64)
        s.maxpool = nn.MaxPool2d(3, 2, 1)
        i = 64
        for layer, blocks in enumerate([3, 4, 6, 3]):
            narrow, chain = 64 << layer, []
            for block in range(blocks):
                chain.append(Bottleneck(i, narrow, 4 * narrow, 2 if layer > 0 and block == 0 else 1))
                i = 4 * narrow
            setattr(s, f"layer{layer + 1}", nn.Sequential(*chain))
        s.fc = nn.Linear(i, CLASSES)

    def forward(s, x):
        x = s.maxpool(F.relu(s.bn1(s.conv1(x))))
        return s.fc(s.layer4(s.layer3(s.layer2(s.layer1(x)))).mean((2, 3)))


class Conv(nn.Module):
    def __init__(s, i, o):
        super().__init__()
        s.conv = nn.Conv2d(i, o, 3, padding=1)

    def forward(s, x):
        return F.relu(s.conv(x))


class Plain(nn.Module):
    """bnkit's convnet without BatchNorm."""

    def __init__(s):
        super().__init__()
        s.layers = nn.Sequential(Conv(1, 16), nn.MaxPool2d(2), Conv(16, 32), nn.MaxPool2d(2), Conv(32, 64))
        s.fc = nn.Linear(64, CLASSES)

    def forward(s, x):
        return s.fc(s.layers(x).mean((2, 3)))


def sampled(g):
    """A tensor's root mean square and 32 elements of it, evenly spread."""
    g = g.flatten()
    return torch.stack([g.square().mean().sqrt()] + [g[i * len(g) // 32] for i in range(32)])


batch, channels, size = SIZES[sys.argv[1]]
net = {"resnet8": ResNet8, "imagenet": ImageNet, "resnet50": ResNet50, "plain": Plain}[sys.argv[1]]().double()
for name, p in net.named_parameters():
    p.data = torch.from_numpy(value(name, p.shape).astype(np.float64))
x = 4 * uniform("pictures", batch * channels * size * size) - 2
x = torch.from_numpy(x.reshape(batch, channels, size, size).astype(np.float64))
labels = torch.arange(batch) * 3 % CLASSES
logits = net(x)
loss = F.cross_entropy(logits, labels)
loss.backward()
results = {"logits": logits.detach(), "loss": loss.detach().reshape(1)}
keep = sampled if sys.argv[1] == "resnet50" else lambda g: g
results.update({"gradient." + name: keep(p.grad) for name, p in net.named_parameters()})
header, data = {}, b""
for name, t in results.items():
    raw = t.numpy().astype("<f4").tobytes()
    header[name] = {"dtype": "F32", "shape": list(t.shape), "data_offsets": [len(data), len(data) + len(raw)]}
    data += raw
head = json.dumps(header).encode()
head += b" " * (-len(head) % 8)
with open(sys.argv[2], "wb") as f:
    f.write(struct.pack("<Q", len(head)) + head + data)
print("loss", loss.item())
