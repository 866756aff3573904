"""Prints, for each module NAME.py of a folder that bnkit export --with-python wrote, its name
and the logits of the pictures in NAME.pictures, a safetensors file.

    python3 modules_torch.py FOLDER
"""

import glob
import os
import runpy
import sys

import torch

torch.set_num_threads(1)  # the networks are small
for path in sorted(glob.glob(os.path.join(sys.argv[1], "*.py"))):
    name = os.path.splitext(path)[0]
    module = runpy.run_path(path)
    pictures, _ = module["read"](name + ".pictures")
    net = module["load"]()
    with torch.no_grad():
        logits = net(pictures["pictures"])
    if net.training:
        sys.exit(path + ": the network is not in eval mode")
    print(os.path.basename(name), *("%.9g" % v for v in logits.flatten().tolist()))
