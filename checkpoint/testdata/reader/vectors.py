"""Computes the test vectors of whole networks of a FORMAT.md, section 5.

    vectors.py FORMAT.md
"""

import hashlib
import sys

from bnz import draw
from network import Network

for line in open(sys.argv[1], encoding="utf-8"):
    if not line.startswith("network "):
        continue
    text, want = line.split(" -> ")
    _, seed, name, shortcut, weights, gamma, beta = text.split()
    header = {
        "arch": name, "shortcut": shortcut, "input": [3, 32, 32], "classes": 10, "seed": int(seed),
        "initialisers": {"generator": "philox4x32-10", "weights": weights, "gamma": gamma, "beta": beta},
    }
    network, digest = Network(header), hashlib.sha256()
    for tensor in sorted(network.shapes):
        digest.update(draw(header, network, tensor).astype("<f4").tobytes())
    same = digest.hexdigest() == want.strip()
    print("same" if same else "DIFFERENT", text, "->", digest.hexdigest())
