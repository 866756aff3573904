"""Writes files with PyTorch, and what this package must read from them.

    python3 make.py DIRECTORY

DIRECTORY/expected.json says for each file the form, the path, the ignored values and the
tensors, with the values that torch.load returns for them, or a part of the error.
torch1.13 and torch2.14 beside this script were written by these versions. torch2.14 has
more dtypes and functions that rebuild tensors; torch1.13 has no byteorder.
"""

import argparse
import collections
import json
import os
import sys

import numpy as np
import torch
from torch import nn

out = sys.argv[1]
os.makedirs(out, exist_ok=True)
expected = {}

DTYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8",
    torch.uint8: "U8", torch.bool: "BOOL",
}


def load(path):
    try:
        return torch.load(path, weights_only=False)
    except TypeError:
        return torch.load(path)


def number(x):
    return x if x - x == 0 else str(x)  # JSON has no infinity


def tensor(name, t):
    values = t.detach().to(torch.float32).contiguous().reshape(-1).tolist()
    return {"name": str(name), "dtype": DTYPES[t.dtype], "shape": list(t.shape), "values": [number(v) for v in values]}


def write(name, obj, path="", ignored=(), error=None, forms=("zip", "legacy"), protocol=2):
    for form in forms:
        file = f"{name}-{form}.pt"
        full = os.path.join(out, file)
        torch.save(obj, full, pickle_protocol=protocol, _use_new_zipfile_serialization=form == "zip")
        if error:
            expected[file] = {"error": error}
            continue
        held = load(full)
        for key in path.split(".") if path else ():
            held = held[key]
        expected[file] = {
            "form": form, "path": path, "ignored": list(ignored),
            "tensors": [tensor(k, t) for k, t in held.items() if isinstance(t, torch.Tensor)],
        }


torch.manual_seed(1)

# Every dtype, with numbers that need its range; a number alone; no number at all.
dtypes = collections.OrderedDict()
for dtype, name in DTYPES.items():
    values = [0, 1, 1, 0]
    if dtype.is_floating_point:
        values = [0.1, -2.75, 65504, 6e-8, float("inf"), -0.0]
    elif dtype != torch.bool:
        info = torch.iinfo(dtype)
        values = [info.min, 99, 7, info.max]
    dtypes[name] = torch.tensor(values, dtype=dtype).reshape(2, -1)
    dtypes[name + ".number"] = torch.tensor(1, dtype=dtype)
    dtypes[name + ".none"] = torch.zeros(3, 0, 2, dtype=dtype)
write("dtypes", dtypes)

# Views: all of a storage, parts of it, transposed, with gaps, repeated, overlapping.
base = torch.arange(24.0).reshape(2, 3, 4)
write("views", {
    "base": base, "again": base, "flat": base.view(-1), "transposed": base.transpose(0, 2), "permuted": base.permute(1, 2, 0),
    "tail": base[1, 1:], "step": base[:, ::2, 1::2], "column": base[..., 3], "number": base[1, 2, 3],
    "expanded": base[:, :1, :1].expand(2, 3, 2), "diagonal": base[0].diagonal(1), "windows": base.view(-1).unfold(0, 4, 3),
    "conv": torch.arange(48.0).reshape(2, 3, 2, 4).contiguous(memory_format=torch.channels_last),
    "half": base.half()[1].t(),
})

# What training programs write.
model = nn.Sequential(collections.OrderedDict(conv=nn.Conv2d(2, 3, 1, bias=False), bn=nn.BatchNorm2d(3), head=nn.Linear(3, 2)))
write("state", model.state_dict())
wrapped = collections.OrderedDict(("module." + k, v) for k, v in model.state_dict().items())
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
model.bn(model.conv(torch.randn(2, 2, 2, 2))).sum().backward()
optimizer.step()
write("nested", {
    "epoch": 90, "arch": "resnet20", "state_dict": wrapped, "best_prec1": 91.78, "best_acc1": torch.tensor(91.5),
    "optimizer": optimizer.state_dict(), "args": argparse.Namespace(lr=0.1, milestones=[100, 150]),
}, path="state_dict", ignored=[
    "epoch (int 90)", 'arch (str "resnet20")', "best_prec1 (float 91.78)", "best_acc1 (tensor F32 [])",
    "optimizer (dict)", "args (argparse.Namespace)",
])
write("deeper", {"model": {"state_dict": model.state_dict(), "epoch": 3}, "epoch": 4}, path="model.state_dict",
      ignored=["epoch (int 4)", "model.epoch (int 3)"])
write("other-key", {"epoch": 4, "student": model.state_dict(), "log": {"loss": [0.5]}}, path="student",
      ignored=["epoch (int 4)", "log (dict)"])

# Parameters, with attributes of their own in newer versions.
parameters = {"weight": nn.Parameter(torch.randn(2, 3)), "fixed": nn.Parameter(torch.randn(2), requires_grad=False)}
parameters["tagged"] = nn.Parameter(torch.randn(3))
parameters["tagged"].tag = "decay"
if hasattr(nn, "Buffer"):
    parameters["buffer"] = nn.Buffer(torch.randn(2))
write("parameters", parameters)
tagged = torch.randn(2, 2)
tagged.tag = {"decay": True}
write("attributes", {"weight": tagged, "bias": torch.randn(2)})

# Numbers of numpy, and other values of Python beside the tensors. numpy 2 has other names.
scalar = np.float64(1).__reduce__()[0].__module__ + ".scalar"
write("numpy", {
    "state_dict": {"w": torch.ones(2)}, "f64": np.float64(91.78), "f32": np.float32(0.5), "f16": np.float16(0.25), "i64": np.int64(-3),
    "u8": np.uint8(200), "flag": np.bool_(True), "i8": np.int8(-8), "i16": np.int16(-300), "i32": np.int32(-70000), "u16": np.uint16(65535), "u32": np.uint32(4294967295),
    "u64": np.uint64(7), "high": np.uint64(1 << 63), "complex": np.complex64(1), "text": np.str_("a"), "array": np.arange(3),
}, path="state_dict", ignored=[
    "f64 (float 91.78)", "f32 (float 0.5)", "f16 (float 0.25)", "i64 (int -3)", "u8 (int 200)", "flag (bool True)",
    "i8 (int -8)", "i16 (int -300)", "i32 (int -70000)", "u16 (int 65535)", "u32 (int 4294967295)", "u64 (int 7)",
    f"high ({scalar})", f"complex ({scalar})", f"text ({scalar})",
    "array (numpy.ndarray)",
])
loop = ([],)
loop[0].append(loop)
values = {
    "loop": loop, "none": None, "yes": True, "no": False, "small": -1, "wide": 1 << 40, "lowest": -(1 << 63), "huge": 1 << 100, "float": -1.5, "text": "γ\n",
    "bytes": b"\x00\xff", "empty": b"", "tuple": (1, 2, 3, 4), "list": [1, [2, [3]]], "set": {1, 2}, "frozenset": frozenset([1]), "dict": {1: 2, (1, 2): 3},
    "size": torch.Size([1, 2]), "device": torch.device("cuda", 1), "dtype": torch.float32,
    "function": os.path.join, "default": collections.defaultdict(list, a=[1]), "deque": collections.deque([1]), "ordered": collections.OrderedDict(a=1),
}
described = [
    "loop (tuple)",
    "none (None)", "yes (bool True)", "no (bool False)", "small (int -1)", "wide (int 1099511627776)", "lowest (int -9223372036854775808)",
    "huge (int of more than 64 bits)", "float (float -1.5)", 'text (str "γ\\n")', "bytes (bytes)", "empty (bytes)",
    "tuple (tuple)", "list (list)", "set (set)", "frozenset (frozenset)", "dict (dict)", "size (tuple)", "device (torch.device)", "dtype (torch.float32)",
    "function (posixpath.join)", "default (collections.defaultdict)", "deque (collections.deque)", "ordered (dict)",
]
for protocol in (2, 3, 4, 5):
    write(f"protocol{protocol}", {"state_dict": {"w": torch.ones(2)}, **values}, path="state_dict", ignored=described, protocol=protocol)
write("beside", {"w": torch.ones(2), "b": torch.ones(1), "epoch": 3, 5: torch.zeros(1)}, ignored=["epoch (int 3)"])
write("storage", {"w": torch.ones(2), "s": torch.ones(3).storage()}, ignored=["s (storage)"])
if hasattr(torch.Tensor, "untyped_storage"):
    write("untyped", {"w": torch.ones(2), "s": torch.ones(3).untyped_storage()}, ignored=["s (storage)"], forms=("zip",))

# What must be refused.
write("module", model, error="this file holds a pickled module, torch.nn.modules.container.Sequential; save its state_dict instead")
write("module-inside", {"epoch": 1, "model": model.head}, error="this file holds a pickled module, torch.nn.modules.linear.Linear, under model")
write("namespace", argparse.Namespace(lr=1), error="this file holds a pickled object, argparse.Namespace; save")
write("tensor", torch.ones(2), error="this file holds a value of type tensor F32 [2]")
write("tuple", (model.state_dict(), 1), error="this file holds a value of type tuple")
write("empty", {}, error="this file holds an empty dict")
write("nothing", {"epoch": 1, "loss": [1.0]}, error="no state dict was found; the file holds epoch (int 1), loss (list)")
write("quantised", {"w": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)}, error="w is a quantised tensor")
write("sparse", {"w": torch.eye(2).to_sparse()}, error="w is a sparse tensor")
write("complex", {"w": torch.ones(2, dtype=torch.complex64)}, error="w is a tensor of torch.ComplexFloatStorage")
write("meta", {"w": torch.ones(2, device="meta")}, error="w is a tensor without values")
write("object", {"w": torch.ones(2), "b": argparse.Namespace(t=torch.ones(1))}, error="b is a pickled object, argparse.Namespace, with tensors in it")
if hasattr(torch, "float8_e4m3fn"):
    write("float8", {"w": torch.ones(2, dtype=torch.float8_e4m3fn)}, error="w is a tensor of torch.float8_e4m3fn", forms=("zip",))
    write("uint16", {"w": torch.ones(2, dtype=torch.uint16)}, error="w is a tensor of torch.uint16", forms=("zip",))
# A complex tensor beside the state dict is left out.
write("complex-beside", {"state_dict": {"w": torch.ones(2)}, "x": torch.ones(2, dtype=torch.complex64), "z": torch.ones(1, dtype=torch.float64)},
      path="state_dict", ignored=["x (torch.ComplexFloatStorage)", "z (tensor F64 [1])"])
script = torch.jit.script(nn.Linear(1, 1))
script.save(os.path.join(out, "script.pt"))
expected["script.pt"] = {"error": "it is a TorchScript archive"}

# Checksums can be left out since PyTorch 2.6.
if hasattr(torch.serialization, "set_crc32_options"):
    torch.serialization.set_crc32_options(False)
    write("no-checksums", {"w": torch.ones(2)}, forms=("zip",))

with open(os.path.join(out, "expected.json"), "w") as f:
    f.write("{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in expected.items()) + "\n}\n")
print(torch.__version__, np.__version__, len(expected), "files")
