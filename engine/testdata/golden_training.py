#!/usr/bin/python3
"""Golden values of optimizers, by PyTorch in float64.

usage: golden_training.py > training.json

Each optimizer takes 20 steps from the same start on the loss
Σ ½·curvature·(w - target)² over the tensors below, all of which are trained.
Each case's config holds the settings that differ from bnkit's defaults, by
their names in config.json."""
import json
import torch

STEPS = 20
PROBLEM = {
    "bn.weight": {"start": [0.9, -0.4, 0.05], "curvature": [1.0, 0.3, 2.0], "target": [0.1, 0.6, 0.0]},
    "bn.bias": {"start": [0.0, 0.3, -0.7], "curvature": [0.5, 4.0, 1.5], "target": [1.0, -0.2, -0.75]},
    "fc.bias": {"start": [-1.2, 0.2, 0.8], "curvature": [3.0, 0.1, 0.7], "target": [0.4, 0.15, -1.1]},
}
DEFAULTS = {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4, "nesterov": False,
            "adam_beta1": 0.9, "adam_beta2": 0.999, "adam_eps": 1e-8}
OPTIMIZERS = [
    {"momentum": 0, "weight_decay": 0},
    {"weight_decay": 0},
    {"weight_decay": 0.05},
    {"weight_decay": 0, "nesterov": True},
    {"weight_decay": 0.05, "nesterov": True, "momentum": 0.7},
    {"optimizer": "adam", "weight_decay": 0},
    {"optimizer": "adam", "weight_decay": 0.05},
    {"optimizer": "adam", "weight_decay": 0.01, "lr": 0.02, "adam_beta1": 0.5, "adam_beta2": 0.9, "adam_eps": 1e-3},
    {"optimizer": "adamw", "weight_decay": 0},
    {"optimizer": "adamw", "weight_decay": 0.05},
    {"optimizer": "adamw", "weight_decay": 0.3, "lr": 0.02, "adam_beta1": 0, "adam_beta2": 0.99},
]


def short(v):
    return float("%.9g" % v)


def make_optimizer(params, c):
    params = [{"params": params}]
    if c["optimizer"] == "sgd":
        return torch.optim.SGD(params, c["lr"], c["momentum"], nesterov=c["nesterov"], weight_decay=c["weight_decay"])
    make = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[c["optimizer"]]
    return make(params, c["lr"], (c["adam_beta1"], c["adam_beta2"]), c["adam_eps"], c["weight_decay"])


def run_optimizer(config):
    c = {**DEFAULTS, **config}
    w = {name: torch.tensor(p["start"], dtype=torch.float64, requires_grad=True) for name, p in PROBLEM.items()}
    optimizer = make_optimizer(list(w.values()), c)
    steps = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = 0
        for name, p in PROBLEM.items():
            curvature, target = (torch.tensor(p[k], dtype=torch.float64) for k in ("curvature", "target"))
            loss = loss + (0.5 * curvature * (w[name] - target) ** 2).sum()
        loss.backward()
        optimizer.step()
        steps.append({name: [short(v) for v in x.tolist()] for name, x in w.items()})
    return {"config": config, "steps": steps}


def compact(rows):
    return "[\n" + ",\n".join(json.dumps(r, separators=(",", ":")) for r in rows) + "]"


print('{"problem":%s,\n"optimizers":%s}' % (json.dumps(PROBLEM), compact(map(run_optimizer, OPTIMIZERS))))
