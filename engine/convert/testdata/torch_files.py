#!/usr/bin/python3
"""Writes torchvision's ResNet-18 and ResNet-50 in the formats of PyTorch, for logits.go.

usage: torch_files.py FOLDER [resnet18 | resnet50]
       go run ./engine/convert/testdata/logits.go FOLDER

Each network has its full width. It is written as .pt (zip), .pth (legacy) and safetensors; in
float32, float16 and bfloat16; plain, nested as training programs do, and with the names of
DataParallel. FOLDER/expected.json holds the logits that PyTorch computes in float64 from the
rounded weights in each file; logits.go compares them with bnkit's. The files of both networks
take 1.3 GB. Values and pictures are computed as in networks.py.

Differences of logits, relative to the largest logit, were 5.9e-7 to 7.2e-7 for ResNet-18 and
6.2e-7 to 6.9e-7 for ResNet-50, for files of PyTorch 1.13 and of 2.14 (AVX-512)."""
import json, os, struct, sys
import numpy as np, torch
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from networks import BasicBlock, Bottleneck, ResNet, logits, pictures, value

DTYPES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64"}


def safetensors(state, path):
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, x in state.items():
        size = x.numel() * x.element_size()
        header[name] = {"dtype": DTYPES[x.dtype], "shape": list(x.shape), "data_offsets": [offset, offset + size]}
        offset += size
    raw = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(raw)) + raw)
        for x in state.values():
            if x.dtype == torch.bfloat16:
                x = x.view(torch.int16)  # NumPy has no bfloat16
            f.write(x.contiguous().numpy().tobytes())


def module(state):
    return {"module." + k: v for k, v in state.items()}


FORMS = {  # type, how it is written
    "plain.pt": (torch.float32, lambda s, p: torch.save(s, p)),
    "plain.pth": (torch.float32, lambda s, p: torch.save(s, p, _use_new_zipfile_serialization=False)),
    "plain.safetensors": (torch.float32, safetensors),
    "nested.pt": (torch.float32, lambda s, p: torch.save({"epoch": 90, "state_dict": module(s), "optimizer": {"lr": 0.1}}, p)),
    "nested.pth": (torch.float32, lambda s, p: torch.save({"model": module(s), "best_acc1": torch.tensor(0.7)}, p, _use_new_zipfile_serialization=False)),
    "half.pt": (torch.float16, lambda s, p: torch.save({"state_dict": module(s)}, p)),
    "half.pth": (torch.float16, lambda s, p: torch.save(s, p, _use_new_zipfile_serialization=False)),
    "half.safetensors": (torch.float16, safetensors),
    "bfloat16.pt": (torch.bfloat16, lambda s, p: torch.save(s, p)),
    "bfloat16.pth": (torch.bfloat16, lambda s, p: torch.save({"state_dict": module(s)}, p, _use_new_zipfile_serialization=False)),
    "bfloat16.safetensors": (torch.bfloat16, safetensors),
}
NETWORKS = {"resnet18": (BasicBlock, (2, 2, 2, 2)), "resnet50": (Bottleneck, (3, 4, 6, 3))}
SIDE = 64

folder = sys.argv[1]
expected = {}
for arch in sys.argv[2:] or NETWORKS:
    net = ResNet(*NETWORKS[arch], 64, large=True, classes=1000)
    values = {k: torch.from_numpy(np.asarray(value(k, tuple(v.shape)))) for k, v in net.state_dict().items()}
    logits_of = {}  # by type
    for form, (dtype, write) in FORMS.items():
        state = {k: v.to(dtype) if v.is_floating_point() else v for k, v in values.items()}
        if dtype not in logits_of:
            net.double().load_state_dict(state)
            logits_of[dtype] = logits(net, pictures(2, 3, SIDE))
        name = f"{arch}-{form}"
        write(state, os.path.join(folder, name))
        expected[name] = {"arch": arch, "logits": logits_of[dtype]}
with open(os.path.join(folder, "expected.json"), "w") as f:
    json.dump({"pytorch": torch.__version__, "side": SIDE, "pictures": pictures(2, 3, SIDE).flatten().tolist(), "files": expected}, f)
