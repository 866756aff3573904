#!/usr/bin/python3
"""Measures the test accuracy of a network that bnkit exported, with PyTorch.

usage: eval_torch.py M.safetensors DIR

DIR holds the CIFAR-10 binary files, or the gzipped IDX files of the MNIST
family. The network (a CIFAR ResNet with option-B shortcuts) is built from the
file's metadata. Compare the number of right answers with that of bnkit eval."""
import gzip, json, os, struct, sys
import numpy as np, torch, torch.nn as nn, torch.nn.functional as F

with open(sys.argv[1], "rb") as f:
    header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
    data = f.read()
meta = header.pop("__metadata__")
state = {name: torch.from_numpy(np.frombuffer(data[slice(*h["data_offsets"])], "<f4").reshape(h["shape"]).copy())
         for name, h in header.items()}


class Block(nn.Module):
    def __init__(s, i, o, stride):
        super().__init__()
        s.conv1 = nn.Conv2d(i, o, 3, stride, 1, bias=False); s.bn1 = nn.BatchNorm2d(o)
        s.conv2 = nn.Conv2d(o, o, 3, 1, 1, bias=False); s.bn2 = nn.BatchNorm2d(o)
        s.shortcut = nn.Sequential()
        if stride != 1:
            s.shortcut = nn.Sequential(nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o))

    def forward(s, x):
        return F.relu(s.bn2(s.conv2(F.relu(s.bn1(s.conv1(x))))) + s.shortcut(x))


class ResNet(nn.Module):
    def __init__(s):
        super().__init__()
        w, channels = state["conv.weight"].shape[:2]
        s.conv = nn.Conv2d(channels, w, 3, 1, 1, bias=False); s.bn = nn.BatchNorm2d(w)
        blocks = []
        while f"blocks.{len(blocks)}.conv1.weight" in state:
            o, i = state[f"blocks.{len(blocks)}.conv1.weight"].shape[:2]
            blocks.append(Block(i, o, 2 if o != i else 1))
        s.blocks = nn.Sequential(*blocks); s.fc = nn.Linear(o, int(meta["classes"]))

    def forward(s, x):
        return s.fc(s.blocks(F.relu(s.bn(s.conv(x)))).mean((2, 3)))


net = ResNet()
missing, unexpected = net.load_state_dict(state, strict=False)
assert not unexpected and all(m.endswith("num_batches_tracked") for m in missing), (missing, unexpected)
for m in net.modules():
    if isinstance(m, nn.BatchNorm2d):
        m.eps = float(meta["bn_eps"])
c, h, w = (int(v) for v in meta["input"].split(","))
if c == 3:
    raw = np.fromfile(os.path.join(sys.argv[2], "test_batch.bin"), np.uint8).reshape(-1, 3073)
    x, y = raw[:, 1:].reshape(-1, 3, 32, 32), raw[:, 0]
else:
    read = lambda name, offset: np.frombuffer(gzip.open(os.path.join(sys.argv[2], name)).read(), np.uint8, offset=offset)
    x, y = read("t10k-images-idx3-ubyte.gz", 16).reshape(-1, 1, h, w), read("t10k-labels-idx1-ubyte.gz", 8)
mean = np.array([float(v) for v in meta["normalisation_mean"].split(",")], np.float32).reshape(1, -1, 1, 1)
std = np.array([float(v) for v in meta["normalisation_std"].split(",")], np.float32).reshape(1, -1, 1, 1)
net.eval()
right = 0
with torch.no_grad():
    for at in range(0, len(x), 500):
        z = net(torch.from_numpy((x[at:at + 500].astype(np.float32) / 255 - mean) / std))
        right += (z.argmax(1).numpy() == y[at:at + 500]).sum()
print(f"{right} of {len(x)} right: {right / len(x):.4f}")
