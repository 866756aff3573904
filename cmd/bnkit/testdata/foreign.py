#!/usr/bin/python3
"""Small files that PyTorch wrote, for the tests of the commands.

usage: foreign.py            writes the files beside this script
       foreign.py SOURCE CLAMPED.safetensors THRESHOLD [zero-beta]

resnet8.th is a CIFAR ResNet of akamaster's kind (option-A shortcuts, DataParallel's names,
legacy format) with 8 layers of 4 to 16 channels, trained for a few steps on the pictures of
writeIDX in commands_test.go. Prints what foreign_test.go expects. unknown.pt (zip) holds the
same with a squeeze-and-excitation layer, which bnkit cannot run, and BatchNorms in float16,
bfloat16 and float64. half.pt (zip) and bfloat16.safetensors hold the first network with all
weights and statistics rounded to these types.

The second form checks a clamped copy that bnkit prune wrote of a file: each BatchNorm's γ
with |γ| below the threshold is 0, and so is β with zero-beta, and all other bytes are those of the
source."""
import json, os, struct, sys
import numpy as np, torch, torch.nn as nn, torch.nn.functional as F

DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64, "BOOL": torch.bool}


class Block(nn.Module):
    def __init__(s, i, o, stride):
        super().__init__()
        s.conv1 = nn.Conv2d(i, o, 3, stride, 1, bias=False); s.bn1 = nn.BatchNorm2d(o)
        s.conv2 = nn.Conv2d(o, o, 3, 1, 1, bias=False); s.bn2 = nn.BatchNorm2d(o)
        s.pad = (o - i) // 2

    def forward(s, x):
        y = s.bn2(s.conv2(F.relu(s.bn1(s.conv1(x)))))
        if s.pad:
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, s.pad, s.pad))
        return F.relu(y + x)


class ResNet(nn.Module):
    def __init__(s):
        super().__init__()
        s.conv1 = nn.Conv2d(1, 4, 3, 1, 1, bias=False); s.bn1 = nn.BatchNorm2d(4)
        s.layer1, s.layer2, s.layer3 = (nn.Sequential(Block(i, o, o // i)) for i, o in ((4, 4), (4, 8), (8, 16)))
        s.linear = nn.Linear(16, 4)

    def forward(s, x):
        return s.linear(s.layer3(s.layer2(s.layer1(F.relu(s.bn1(s.conv1(x)))))).mean((2, 3)))


def split(n):
    """The pictures of writeIDX, with mean 0.25 and std 0.5."""
    i, p = np.arange(n)[:, None], np.arange(64)[None]
    x = (i * 31 + p * 17) % 60 + np.where(p // 16 == i % 4, 180, 0)
    return torch.from_numpy(((x.astype(np.float32) / 255 - 0.25) / 0.5).reshape(n, 1, 8, 8)), torch.from_numpy(np.arange(n) % 4)


def measure(net, name):
    net.eval()
    x, y = split(40)
    with torch.no_grad():
        z = net(x).double()
    print(f"{name}: accuracy", (z.argmax(1) == y).double().mean().item(), "loss", F.cross_entropy(z, y).item())


def write(state, path):
    """A safetensors file."""
    names, header, offset = {v: k for k, v in DTYPES.items()}, {}, 0
    for name, x in state.items():
        size = x.numel() * x.element_size()
        header[name] = {"dtype": names[x.dtype], "shape": list(x.shape), "data_offsets": [offset, offset + size]}
        offset += size
    raw = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(raw)) + raw)
        for x in state.values():
            f.write((x.view(torch.int16) if x.dtype == torch.bfloat16 else x).contiguous().numpy().tobytes())


def make():
    torch.manual_seed(1)
    net = ResNet()
    x, y = split(96)
    optimizer = torch.optim.SGD(net.parameters(), 0.02, momentum=0.9)
    for _ in range(12):
        optimizer.zero_grad()
        F.cross_entropy(net(x + 0.5 * torch.randn(x.shape)), y).backward()
        optimizer.step()
    with torch.no_grad():
        for m, small in ((net.bn1, 1), (net.layer2[0].bn1, 3), (net.layer3[0].bn1, 5)):
            m.weight[:small] *= 0.001
            m.bias[:small - 1] *= 0.001
    measure(net, "resnet8.th")
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    for t in (0.01, 0.5):
        print(f"below {t}: γ", sum((m.weight.abs() < t).sum().item() for m in norms), "β", sum((m.bias.abs() < t).sum().item() for m in norms),
              "both", sum(((m.weight.abs() < t) & (m.bias.abs() < t)).sum().item() for m in norms), "of", sum(m.num_features for m in norms))
    state = {"module." + k: v for k, v in net.state_dict().items()}
    here = os.path.dirname(os.path.abspath(__file__))
    torch.save({"state_dict": state, "best_prec1": 75.0}, os.path.join(here, "resnet8.th"), _use_new_zipfile_serialization=False)
    state["module.layer3.0.se.weight"] = torch.ones(4, 16, 1, 1)
    for layer, dtype in (("module.bn1.", torch.float16), ("module.layer2.0.bn1.", torch.bfloat16), ("module.layer3.0.bn1.", torch.float64)):
        for k, v in state.items():
            if k.startswith(layer) and v.is_floating_point():
                state[k] = v.to(dtype)
    torch.save({"model": state, "epoch": 3}, os.path.join(here, "unknown.pt"))
    for dtype, name, save in ((torch.float16, "half.pt", lambda s, p: torch.save({"epoch": 3, "net": {"module." + k: v for k, v in s.items()}}, p)), (torch.bfloat16, "bfloat16.safetensors", write)):
        rounded = {k: v.to(dtype) if v.is_floating_point() else v for k, v in net.state_dict().items()}
        save(rounded, os.path.join(here, name))
        other = ResNet()
        other.load_state_dict(rounded)
        measure(other, name)


def read(path):
    if not path.endswith(".safetensors"):
        state = torch.load(path, map_location="cpu")
        return state.get("state_dict", state.get("model", state))
    with open(path, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        data = f.read()
    header.pop("__metadata__", None)
    return {name: torch.frombuffer(bytearray(data[slice(*h["data_offsets"])]), dtype=DTYPES[h["dtype"]]).reshape(h["shape"]) for name, h in header.items()}


def check(source, copy, threshold, zero_beta):
    before, after = read(source), read(copy)
    assert sorted(before) == sorted(after), "other names"
    clamped = 0
    want = dict(before)
    for name, gamma in before.items():
        norm = name[:-len(".weight")]
        if name.endswith(".weight") and norm + ".running_mean" in before:
            small = gamma.double().abs() < threshold
            clamped += small.sum().item()
            want[name] = torch.where(small, torch.zeros_like(gamma), gamma)
            if zero_beta:
                want[norm + ".bias"] = torch.where(small, torch.zeros_like(gamma), before[norm + ".bias"])
    different = 0
    for name, x in want.items():
        y = after[name]
        same = x.dtype == y.dtype and x.shape == y.shape and x.contiguous().view(-1).view(torch.uint8 if x.dim() else x.dtype).equal(y.view(-1).view(torch.uint8 if y.dim() else y.dtype))
        different += not same
        if not same:
            print("differs:", name)
    print(f"{copy}: {clamped} γ are 0, {len(want)} tensors, {different} differ from what is expected")
    return different


if __name__ == "__main__":
    if len(sys.argv) == 1:
        make()
    else:
        sys.exit(check(sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4:] == ["zero-beta"]) > 0)
