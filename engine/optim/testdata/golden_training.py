#!/usr/bin/python3
"""Writes golden values of optimizers, schedules and label smoothing, in float64.

usage: golden_training.py > training.json

Each optimizer takes 20 steps from the same start on the loss
Σ ½·curvature·(w - target)² over the tensors below, all of which are trained.
Each case's config holds the settings that differ from bnkit's defaults, by
their names in config.json. A schedule has a rate for each epoch or, if the rate
changes at each step, for each quarter of an epoch. The values come from PyTorch.
Schedules that PyTorch lacks follow their published formulas: TensorFlow's linear_cosine_decay
(python/training/learning_rate_decay.py), and the ramp-up with exponential decay
that is common in TPU notebooks."""
import json, math, warnings
import torch
from torch.optim import lr_scheduler as sched

warnings.filterwarnings("ignore")

STEPS = 20
PROBLEM = {
    "bn.weight": {"start": [0.9, -0.4, 0.05], "curvature": [1.0, 0.3, 2.0], "target": [0.1, 0.6, 0.0]},
    "bn.bias": {"start": [0.0, 0.3, -0.7], "curvature": [0.5, 4.0, 1.5], "target": [1.0, -0.2, -0.75]},
    "fc.bias": {"start": [-1.2, 0.2, 0.8], "curvature": [3.0, 0.1, 0.7], "target": [0.4, 0.15, -1.1]},
}
DEFAULTS = {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4, "nesterov": False,
            "gamma_l1": 0, "gamma_l2": 0, "beta_l1": 0, "beta_l2": 0, "clip_norm": 0, "bn_weight_decay": True,
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
    {"weight_decay": 0.05, "bn_weight_decay": False},
    {"optimizer": "adamw", "weight_decay": 0.3, "bn_weight_decay": False},
    {"gamma_l1": 0.01, "beta_l2": 0.5},
    {"gamma_l2": 0.5, "beta_l1": 0.01, "optimizer": "adam"},
    {"clip_norm": 0.7, "weight_decay": 0.05, "gamma_l1": 0.1},
    {"clip_norm": 1e6},
]


SCHEDULES = [
    {"schedule": "constant", "epochs": 5},
    {"schedule": "constant", "epochs": 8, "lr_warmup": 5},
    {"lr_drops": [4, 6, 7], "epochs": 9},
    {"lr_drops": [4, 6], "epochs": 9, "lr_warmup": 3, "lr": 0.8},
    {"schedule": "cosine", "epochs": 12},
    {"schedule": "cosine", "epochs": 12, "lr_min": 0.01, "lr_warmup": 4, "lr": 0.3},
    {"schedule": "cosine", "epochs": 4, "lr_per_step": True},
    {"schedule": "cosine-restarts", "epochs": 12, "lr_period": 4, "lr_min": 0.001},
    {"schedule": "cosine-restarts", "epochs": 20, "lr_period": 2, "lr_period_growth": 2},
    {"schedule": "cosine-restarts", "epochs": 10, "lr_period": 1, "lr_period_growth": 3, "lr_per_step": True},
    {"schedule": "linear-cosine", "epochs": 10},
    {"schedule": "linear-cosine", "epochs": 10, "lr_alpha": 0.2, "lr_beta": 0.05, "lr_waves": 2.5, "lr": 0.5},
    {"schedule": "linear-cosine", "epochs": 5, "lr_warmup": 2, "lr_per_step": True},
    {"schedule": "ramp-exponential", "epochs": 12, "lr_start": 1e-3, "lr_ramp": 4, "lr_sustain": 2, "lr_min": 1e-4},
    {"schedule": "ramp-exponential", "epochs": 5, "lr_decay": 0.5, "lr_ramp": 1, "lr_per_step": True},
]
SCHEDULE_DEFAULTS = {"schedule": "step", "lr": 0.1, "lr_per_step": False, "lr_warmup": 0, "lr_min": 0, "lr_period_growth": 1,
                     "lr_alpha": 0, "lr_beta": 0.001, "lr_waves": 0.5, "lr_start": 0, "lr_ramp": 0, "lr_sustain": 0, "lr_decay": 0.8}
PARTS = 4  # number of rates in an epoch if the rate changes at each step


def short(v):
    return float("%.9g" % v)


def make_optimizer(w, c):
    bn = {"params": [x for name, x in w.items() if name.startswith("bn.")]}
    if not c["bn_weight_decay"]:
        bn["weight_decay"] = 0
    params = [bn, {"params": [x for name, x in w.items() if not name.startswith("bn.")]}]
    if c["optimizer"] == "sgd":
        return torch.optim.SGD(params, c["lr"], c["momentum"], nesterov=c["nesterov"], weight_decay=c["weight_decay"])
    make = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[c["optimizer"]]
    return make(params, c["lr"], (c["adam_beta1"], c["adam_beta2"]), c["adam_eps"], c["weight_decay"])


def run_optimizer(config):
    c = {**DEFAULTS, **config}
    w = {name: torch.tensor(p["start"], dtype=torch.float64, requires_grad=True) for name, p in PROBLEM.items()}
    optimizer = make_optimizer(w, c)
    steps = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = 0
        for name, p in PROBLEM.items():
            curvature, target = (torch.tensor(p[k], dtype=torch.float64) for k in ("curvature", "target"))
            loss = loss + (0.5 * curvature * (w[name] - target) ** 2).sum()
        for name, prefix in ("bn.weight", "gamma"), ("bn.bias", "beta"):
            loss = loss + c[prefix + "_l1"] * w[name].abs().sum() + c[prefix + "_l2"] / 2 * (w[name] ** 2).sum()
        loss.backward()
        if c["clip_norm"]:
            torch.nn.utils.clip_grad_norm_(w.values(), c["clip_norm"])
        optimizer.step()
        steps.append({name: [short(v) for v in x.tolist()] for name, x in w.items()})
    return {"config": config, "steps": steps}


def linear_cosine_decay(rate, step, steps, num_periods, alpha, beta):
    """TensorFlow's linear_cosine_decay."""
    step = min(step, steps)
    linear_decay = (steps - step) / steps
    cosine_decay = 0.5 * (1 + math.cos(math.pi * 2 * num_periods * (step / steps)))
    return rate * ((alpha + linear_decay) * cosine_decay + beta)


def ramp_exponential(epoch, start, peak, least, ramp, sustain, decay):
    if epoch < ramp:
        return (peak - start) / ramp * epoch + start
    if epoch < ramp + sustain:
        return peak
    return (peak - least) * decay ** (epoch - ramp - sustain) + least


def run_schedule(config):
    c = {**SCHEDULE_DEFAULTS, **config}
    # A rate that changes at each step is computed by PyTorch's schedule with shorter epochs.
    parts = PARTS if c["lr_per_step"] else 1
    warmup, epochs = c["lr_warmup"] * parts, c["epochs"] * parts
    optimizer = torch.optim.SGD([torch.zeros(1)], c["lr"])
    if c["schedule"] == "constant":
        main = sched.LambdaLR(optimizer, lambda e: 1.0)
    elif c["schedule"] == "step":
        main = sched.MultiStepLR(optimizer, [d - warmup for d in c["lr_drops"]])
    elif c["schedule"] == "cosine":
        main = sched.CosineAnnealingLR(optimizer, epochs - warmup, c["lr_min"])
    elif c["schedule"] == "cosine-restarts":
        main = sched.CosineAnnealingWarmRestarts(optimizer, c["lr_period"] * parts, c["lr_period_growth"], c["lr_min"])
    elif c["schedule"] == "linear-cosine":
        main = sched.LambdaLR(optimizer, lambda e: linear_cosine_decay(
            1, e, epochs - warmup, c["lr_waves"], c["lr_alpha"], c["lr_beta"]))
    elif c["schedule"] == "ramp-exponential":
        main = sched.LambdaLR(optimizer, lambda e: ramp_exponential(
            e / parts, c["lr_start"], c["lr"], c["lr_min"], c["lr_ramp"], c["lr_sustain"], c["lr_decay"]) / c["lr"])
    rates = []
    if warmup:
        # The warm-up has its own optimizer, because SequentialLR of PyTorch 1.13 loses the first rate.
        warmup_optimizer = torch.optim.SGD([torch.zeros(1)], optimizer.param_groups[0]["lr"])
        linear = sched.LinearLR(warmup_optimizer, 1 / (c["lr_warmup"] + 1), total_iters=warmup)
        for _ in range(warmup):
            rates.append(warmup_optimizer.param_groups[0]["lr"])
            warmup_optimizer.step(); linear.step()
    for _ in range(epochs - warmup):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step(); main.step()
    return {"config": config, "rates": [short(r) for r in rates]}


def run_smoothing(smoothing, logits, label):
    z = torch.tensor([logits], dtype=torch.float64, requires_grad=True)
    torch.nn.functional.cross_entropy(z, torch.tensor([label]), label_smoothing=smoothing).backward()
    plain = torch.nn.functional.cross_entropy(z, torch.tensor([label])).item()
    return {"smoothing": smoothing, "logits": logits, "label": label, "loss": short(plain),
            "gradient": [short(g) for g in z.grad[0].tolist()]}


SMOOTHING = [
    (0.0, [0.5, -1.25, 2.0], 0),
    (0.1, [0.5, -1.25, 2.0], 2),
    (0.1, [3.0, -4.0, 0.25, 0.0, 1.5], 1),
    (1.0, [1.0, 0.0, -2.0, 0.5], 3),
]


def compact(rows):
    return "[\n" + ",\n".join(json.dumps(r, separators=(",", ":")) for r in rows) + "]"


print('{"problem":%s,\n"optimizers":%s,\n"schedules":%s,\n"smoothing":%s}' % (
    json.dumps(PROBLEM), compact(map(run_optimizer, OPTIMIZERS)), compact(map(run_schedule, SCHEDULES)),
    compact(run_smoothing(*s) for s in SMOOTHING)))
