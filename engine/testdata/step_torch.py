#!/usr/bin/python3
"""Compares a training step of bnkit with PyTorch's, for an ImageNet ResNet with bottlenecks.

usage: step_torch.py M.safetensors STEP.safetensors

M is a checkpoint that bnkit exported. STEP is the file that step.go wrote for
the same checkpoint. PyTorch takes the step in float64, as the reference, and
in float32. The error of PyTorch's float32 step shows how large rounding errors
are. They change the sign of ReLU inputs that are close to 0, and with it
gradients.

Normalised errors, over all tensors of a kind together, of ResNet-50 on the
folder that pictures.go makes, 8 pictures of 224x224 (AVX-512; PyTorch 1.13):

                  bnkit  PyTorch float32   worst of bnkit
loss            3.8e-06          1.8e-06    3.8e-06 loss
logits          2.9e-05          2.1e-05    2.9e-05 logits
output layer    1.7e-05          1.4e-05    1.7e-05 gradient.fc.weight
gamma           2.3e-02          1.7e-02    3.0e-02 gradient.layer2.2.bn1.weight
beta            2.4e-02          2.0e-02    2.9e-02 gradient.layer2.2.bn1.bias
convolutions    2.4e-02          2.1e-02    2.6e-02 gradient.layer2.0.downsample.0.weight

If bnkit computes in float64, its gradients agree with PyTorch's to the float32
precision of the golden file (engine/nn, TestGolden/resnet50)."""
import json, struct, sys
import numpy as np, torch, torch.nn as nn, torch.nn.functional as F


def read(path):
    with open(path, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        data = f.read()
    meta = header.pop("__metadata__", {})
    return meta, {name: torch.from_numpy(np.frombuffer(data[slice(*h["data_offsets"])], "<f4").reshape(h["shape"]).copy())
                  for name, h in header.items()}


class Bottleneck(nn.Module):
    """torchvision's bottleneck, with the stride in the 3x3 convolution."""

    def __init__(s, i, narrow, stride):
        super().__init__()
        wide = 4 * narrow
        s.conv1 = nn.Conv2d(i, narrow, 1, bias=False); s.bn1 = nn.BatchNorm2d(narrow)
        s.conv2 = nn.Conv2d(narrow, narrow, 3, stride, 1, bias=False); s.bn2 = nn.BatchNorm2d(narrow)
        s.conv3 = nn.Conv2d(narrow, wide, 1, bias=False); s.bn3 = nn.BatchNorm2d(wide)
        s.downsample = nn.Sequential()
        if stride != 1 or i != wide:
            s.downsample = nn.Sequential(nn.Conv2d(i, wide, 1, stride, bias=False), nn.BatchNorm2d(wide))

    def forward(s, x):
        y = F.relu(s.bn2(s.conv2(F.relu(s.bn1(s.conv1(x))))))
        return F.relu(s.bn3(s.conv3(y)) + s.downsample(x))


class ResNet(nn.Module):
    def __init__(s, blocks, classes):
        super().__init__()
        s.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False); s.bn1 = nn.BatchNorm2d(64)
        s.maxpool = nn.MaxPool2d(3, 2, 1)
        i = 64
        for layer, n in enumerate(blocks):
            narrow, chain = 64 << layer, []
            for block in range(n):
                chain.append(Bottleneck(i, narrow, 2 if layer > 0 and block == 0 else 1))
                i = 4 * narrow
            setattr(s, f"layer{layer + 1}", nn.Sequential(*chain))
        s.fc = nn.Linear(i, classes)

    def forward(s, x):
        x = s.maxpool(F.relu(s.bn1(s.conv1(x))))
        return s.fc(s.layer4(s.layer3(s.layer2(s.layer1(x)))).mean((2, 3)))


meta, state = read(sys.argv[1])
blocks = {"resnet50": [3, 4, 6, 3], "resnet101": [3, 4, 23, 3], "resnet152": [3, 8, 36, 3]}[meta["arch"]]
step = read(sys.argv[2])[1]


def torch_step(dtype):
    net = ResNet(blocks, int(meta["classes"]))
    missing, unexpected = net.load_state_dict(state, strict=False)
    assert not unexpected and all(m.endswith("num_batches_tracked") for m in missing), (missing, unexpected)
    for m in net.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.eps = float(meta["bn_eps"])
    net = net.to(dtype).train()
    logits = net(step["pictures"].to(dtype))
    loss = F.cross_entropy(logits, step["labels"].long())
    loss.backward()
    got = {"gradient." + name: p.grad for name, p in net.named_parameters()}
    return {**got, "logits": logits.detach(), "loss": loss.detach().reshape(1)}


def kind(name):
    if not name.startswith("gradient."):
        return name
    if name.startswith("gradient.fc"):
        return "output layer"
    if ".bn" in name or ".downsample.1." in name:
        return "gamma" if name.endswith("weight") else "beta"
    return "convolutions"


want, float32 = torch_step(torch.float64), torch_step(torch.float32)
assert set(want) == set(step) - {"pictures", "labels"}
print(f"loss {want['loss'].item():.6f}")
print(f"{'':14} {'bnkit':>8} {'PyTorch float32':>16}   {'worst of bnkit':>14}")
for k in ["loss", "logits", "output layer", "gamma", "beta", "convolutions"]:
    names = [n for n in want if kind(n) == k]
    norm = sum(want[n].square().sum() for n in names)
    error = lambda got: (sum((got[n].double() - want[n]).square().sum() for n in names) / norm).sqrt().item()
    worst = max(names, key=lambda n: ((step[n].double() - want[n]).norm() / want[n].norm()).item())
    d = ((step[worst].double() - want[worst]).norm() / want[worst].norm()).item()
    print(f"{k:14} {error(step):8.1e} {error(float32):16.1e}   {d:8.1e} {worst}")
