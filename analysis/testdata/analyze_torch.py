#!/usr/bin/python3
"""Measures another program's file with PyTorch, and compares with bnkit analyze.

usage: bnkit analyze FILE.th --data cifar10 --data-dir DIR --normalise-mean imagenet \\
           --thresholds 0.01 --json > REPORT.json
       analyze_torch.py FILE.th DIR REPORT.json

FILE.th is a CIFAR ResNet of akamaster/pytorch_resnet_cifar10 (option-A shortcuts), DIR
holds the CIFAR-10 binary files. PyTorch runs in float32. The pictures of the training
split come in the order that bnkit draws from seed 0 (engine/rng/SPEC.md), so that
gradients and re-estimated statistics are taken over the same batches.

It prints PyTorch's and bnkit's value of each number, and their difference. For the values
of layers, it prints the largest difference."""
import hashlib, json, os, sys
import numpy as np, torch, torch.nn as nn, torch.nn.functional as F

BATCH, ESTIMATION = 128, 50


class Block(nn.Module):
    def __init__(s, i, o, stride):
        super().__init__()
        s.conv1 = nn.Conv2d(i, o, 3, stride, 1, bias=False); s.bn1 = nn.BatchNorm2d(o)
        s.conv2 = nn.Conv2d(o, o, 3, 1, 1, bias=False); s.bn2 = nn.BatchNorm2d(o)
        s.pad = (o - i) // 2

    def forward(s, x):
        y = count_zeros(s.bn1, F.relu(s.bn1(s.conv1(x))))
        if s.pad:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, s.pad, s.pad))
        return count_zeros(s.bn2, F.relu(s.bn2(s.conv2(y)) + x))


class ResNet(nn.Module):
    def __init__(s, blocks, classes):
        super().__init__()
        s.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False); s.bn1 = nn.BatchNorm2d(16)
        i = 16
        for stage, o in enumerate((16, 32, 64)):
            layer = [Block(i if b == 0 else o, o, 2 if b == 0 and stage else 1) for b in range(blocks)]
            setattr(s, f"layer{stage + 1}", nn.Sequential(*layer))
            i = o
        s.linear = nn.Linear(64, classes)

    def forward(s, x):
        x = count_zeros(s.bn1, F.relu(s.bn1(s.conv1(x))))
        return s.linear(s.layer3(s.layer2(s.layer1(x))).mean((2, 3)))


zeros = None  # by BatchNorm: numbers of zeros and elements of the ReLU after it; None to count nothing


def count_zeros(bn, x):
    if zeros is not None:
        z, n = zeros.get(bn, (0, 0))
        zeros[bn] = z + (x == 0).sum().item(), n + x.numel()
    return x


def shuffled_order(n):
    """The first epoch's order of n pictures, from seed 0: engine/rng/SPEC.md, Permutation."""
    ident = int.from_bytes(hashlib.sha256(b"shuffle/epoch/0").digest()[:8], "little")
    blocks = np.arange((n + 1) // 2, dtype=np.uint64)
    c0, c1 = blocks & 0xffffffff, blocks >> np.uint64(32)
    c2, c3 = np.full_like(blocks, ident & 0xffffffff), np.full_like(blocks, ident >> 32)
    k0 = k1 = 0
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * c0, np.uint64(0xCD9E8D57) * c2
        hi0, lo0, hi1, lo1 = p0 >> np.uint64(32), p0 & np.uint64(0xffffffff), p1 >> np.uint64(32), p1 & np.uint64(0xffffffff)
        c0, c1, c2, c3 = hi1 ^ c1 ^ np.uint64(k0), lo1, hi0 ^ c3 ^ np.uint64(k1), lo0
        k0, k1 = (k0 + 0x9E3779B9) & 0xffffffff, (k1 + 0xBB67AE85) & 0xffffffff
    words = np.stack([c1 << np.uint64(32) | c0, c3 << np.uint64(32) | c2], 1).reshape(-1)
    p = [0] * n
    for i in range(n):
        j = int(words[i]) * (i + 1) >> 64
        p[i] = p[j]
        p[j] = i
    return np.array(p)


def read(*names):
    raw = np.concatenate([np.fromfile(os.path.join(sys.argv[2], n), np.uint8).reshape(-1, 3073) for n in names])
    mean = np.array([0.485, 0.456, 0.406], np.float32).reshape(1, 3, 1, 1)
    std = np.array([0.229, 0.224, 0.225], np.float32).reshape(1, 3, 1, 1)
    pick = lambda rows: torch.from_numpy((rows[:, 1:].reshape(-1, 3, 32, 32).astype(np.float32) / 255 - mean) / std)
    return raw, pick, lambda rows: torch.from_numpy(rows[:, 0].astype(np.int64))


def evaluate(net):
    net.eval()
    right, loss = 0, 0.0
    with torch.no_grad():
        for at in range(0, len(test), 500):
            y = test_label(test[at:at + 500])
            z = net(test_picture(test[at:at + 500]))
            right += (z.argmax(1) == y).sum().item()
            loss += F.cross_entropy(z.double(), y, reduction="sum").item()
    return right / len(test), loss / len(test)


def show(what, torch_value, bnkit_value):
    a, b = np.atleast_1d(np.array(torch_value, float)), np.atleast_1d(np.array(bnkit_value, float))
    relative = np.abs(a - b) / np.maximum(np.abs(a), 1e-30)
    if len(a) == 1:
        print(f"{what:34} {a[0]:14.8g} {b[0]:14.8g}   difference {abs(a[0] - b[0]):.2e}, relative {relative[0]:.2e}")
    else:
        print(f"{what:34} {len(a)} layers: largest difference {np.abs(a - b).max():.2e}, relative {relative.max():.2e}")


state = torch.load(sys.argv[1], map_location="cpu")["state_dict"]
state = {k[len("module."):]: v for k, v in state.items()}
blocks = sum(1 for k in state if k.startswith("layer1.") and k.endswith(".conv1.weight"))
net = ResNet(blocks, len(state["linear.bias"]))
missing = net.load_state_dict(state, strict=False)
assert not missing.unexpected_keys and all(m.endswith("num_batches_tracked") for m in missing.missing_keys), missing
norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
convs = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
report = json.load(open(sys.argv[3]))
layers = report["layers"]
assert [l["channels"] for l in layers] == [m.num_features for m in norms]
test, test_picture, test_label = read("test_batch.bin")
train, train_picture, train_label = read(*(f"data_batch_{i}.bin" for i in range(1, 6)))

print(f"{'':34} {'PyTorch':>14} {'bnkit':>14}")
gammas = torch.cat([m.weight.detach() for m in norms])
at = report["near_zero_thresholds"].index(0.01)
print(f"|γ| < 0.01: {(gammas.double().abs() < 0.01).sum().item()} of {len(gammas)}")
show("share of |γ| < 0.01", (gammas.double().abs() < 0.01).double().mean(), report["total"]["near_zero"][at])
show("share of |γ| < 0.01", [(m.weight.double().abs() < 0.01).double().mean().item() for m in norms], [l["near_zero"][at] for l in layers])
accuracy, loss = evaluate(net)
show("accuracy, stored statistics", accuracy, report["stored_statistics"]["test_accuracy"])
show("loss, stored statistics", loss, report["stored_statistics"]["test_loss"])

permutation = shuffled_order(len(train))
batches = [train[permutation[i * BATCH:(i + 1) * BATCH]] for i in range(ESTIMATION)]

# Gradients of the mean loss of a batch, in training mode.
net.train()
sums, over = {}, report["gradients_over"]["batches"]
for rows in batches[:over]:
    net.zero_grad()
    F.cross_entropy(net(train_picture(rows)), train_label(rows)).backward()
    for m in norms + convs:
        for kind in ("weight", "bias"):
            if getattr(m, kind) is not None:
                sums[m, kind] = sums.get((m, kind), 0) + getattr(m, kind).grad.double().abs().sum().item()
for name, modules, kind in (("gamma", norms, "weight"), ("beta", norms, "bias"), ("convolution", convs, "weight")):
    counts = [getattr(m, kind).numel() * over for m in modules]
    values = [sums[m, kind] for m in modules]
    show(f"mean |gradient| of {name}", sum(values) / sum(counts), report["total"]["gradient"][name])
    show(f"mean |gradient| of {name}", [v / c for v, c in zip(values, counts)], [l["gradient"][name] for l in layers])

# Statistics: means over batches of the mean and of the unbiased variance.
for m in norms:
    m.momentum = None  # a cumulative average
    m.reset_running_stats()
with torch.no_grad():
    for rows in batches:
        net(train_picture(rows))
zeros = {}
accuracy, loss = evaluate(net)
show("accuracy, re-estimated statistics", accuracy, report["sweep"][0]["test_accuracy"])
show("loss, re-estimated statistics", loss, report["sweep"][0]["test_loss"])
show("activation sparsity", sum(z for z, _ in zeros.values()) / sum(n for _, n in zeros.values()), report["total"]["sparsity"]["zero"])
show("activation sparsity", [zeros[m][0] / zeros[m][1] for m in norms], [l["sparsity"]["zero"] for l in layers])
