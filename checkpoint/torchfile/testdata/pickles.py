"""Writes pickles.json beside this script: pickles in hexadecimal, and what CPython's pickle
makes of them, as its repr."""

import json
import os
import pickle

values = [
    None, True, False, 0, 1, -1, 127, -128, -129, 255, 256, 65535, 65536, 1 << 31, -(1 << 31), (1 << 31) - 1, -(1 << 31) - 1,
    (1 << 40) + 5, -(1 << 40) - 5, (1 << 63) - 1, -(1 << 63), 0.5, -1.25, 1e100, 5e-324, float("inf"),
    "", "a", "γ and 漢", "x" * 256, b"", b"\x00\x7f\x80\xff", b"y" * 256,
    (), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4), [], [1], {}, {"a": 1}, set(), {7}, frozenset(), frozenset([7]),
    [[[], {}], ((),), {"a": [{"b": (None, [True])}]}], {1: {2: {3: "x"}}},
]
shared = ["shared", ("tuple", 1)]
values.append([shared, shared, {"again": shared[1]}])

pickles = [pickle.dumps(v, protocol) for v in values for protocol in (2, 3, 4, 5)]
pickles += [pickle.dumps(v, 2) for v in (list(range(1001)), {i: -i for i in range(1001)})]  # longer than a batch
pickles += [
    b"\x80\x02(K\x01K\x02K\x03l.",            # LIST
    b"\x80\x02(K\x01K\x02K\x03K\x04d.",       # DICT
    b"\x80\x02K\x01K\x020.",                  # POP
    b"\x80\x02K\x01(K\x02K\x031.",            # POP_MARK
    b"\x80\x02K\x01(0.",                      # POP of a mark
    b"\x80\x02]K\x012\x86a.",                 # DUP
    b"\x80\x02]K\x01aK\x02a.",                # APPEND
    b"\x80\x02}K\x01K\x02s.",                 # SETITEM
    b"\x80\x02\x8a\x00.",                     # LONG1 without bytes
    b"\x80\x02\x8a\x01\x80.",                 # LONG1
    b"\x80\x02\x8b\x02\x00\x00\x00\x00\x80.",          # LONG4
    b"\x80\x02X\x01\x00\x00\x00ar\xff\xff\x00\x00j\xff\xff\x00\x00\x86.",  # LONG_BINPUT, LONG_BINGET
    b"\x80\x02c__builtin__\nset\n](K\x05e\x85R.",
    b"\x80\x02c__builtin__\nfrozenset\n](K\x05e\x85R.",
    b"\x80\x02c__builtin__\nset\n)R.",
    # A set made of a list, and then an element more for each: the list is [1] * 17 + [100].
    b"\x80\x04](" + b"K\x01" * 17 + b"eq\x00cbuiltins\nset\nh\x00\x85Rq\x010K\x64ah\x01(K\x63\x900.",
    b"\x80\x02c__builtin__\nbytes\n)R.",
    b"\x80\x02c_codecs\nencode\nX\x03\x00\x00\x00a\xc3\xbfX\x06\x00\x00\x00latin1\x86R.",
]
out = [{"pickle": p.hex(), "repr": repr(pickle.loads(p))} for p in pickles]
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "pickles.json"), "w") as f:
    f.write("[\n" + ",\n".join(json.dumps(o, ensure_ascii=False) for o in out) + "\n]\n")
