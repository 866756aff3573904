#!/usr/bin/python3
"""Writes a safetensors file by the format's specification, with PyTorch's conversions.

usage: dtypes.py OUT.safetensors

For each type it holds a tensor of that type, and the same values as PyTorch converts them to
float32, in a tensor whose name ends in ".float32"."""
import json, struct, sys
import torch

SPECIAL = [0.0, -0.0, 1.0, -2.5, 0.1, 65504.0, 6e-8, 6.1e-5, float("inf"), float("-inf"), 1e-3, 3.0]
TYPES = {
    "F64": torch.tensor(SPECIAL + [1e-300, 1e300], dtype=torch.float64),
    "F32": torch.tensor(SPECIAL, dtype=torch.float32),
    "F16": torch.tensor(SPECIAL, dtype=torch.float64).half(),
    "BF16": torch.tensor(SPECIAL, dtype=torch.float64).bfloat16(),
    "I64": torch.tensor([0, 1, -1, 2**24 + 1, -2**63, 2**63 - 1]),
    "I32": torch.tensor([0, 1, -1, 2**24 + 1, -2**31, 2**31 - 1], dtype=torch.int32),
    "I16": torch.tensor([0, 1, -1, -2**15, 2**15 - 1], dtype=torch.int16),
    "I8": torch.tensor([0, 1, -1, -128, 127], dtype=torch.int8),
    "U8": torch.tensor([0, 1, 128, 255], dtype=torch.uint8),
    "BOOL": torch.tensor([True, False, True]),
}


def raw(x):
    if x.dtype == torch.bfloat16:
        return x.view(torch.int16).numpy().tobytes()
    return x.numpy().tobytes()


header, data = {"__metadata__": {"format": "pt"}}, b""
for name, x in TYPES.items():
    for key, dtype, y in ((name, name, x), (name + ".float32", "F32", x.float())):
        b = raw(y)
        header[key] = {"dtype": dtype, "shape": list(y.shape), "data_offsets": [len(data), len(data) + len(b)]}
        data += b
text = json.dumps(header).encode()
with open(sys.argv[1], "wb") as f:
    f.write(struct.pack("<Q", len(text)) + text + data)
