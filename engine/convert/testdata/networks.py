#!/usr/bin/python3
"""Writes state dicts of other people's networks, and the logits that PyTorch computes.

usage: networks.py NAME > NAME.json    (one of NETWORKS below)
       networks.py FILE.th             (logits of a CIFAR ResNet of akamaster's)

Tensor names and structure are those of the original networks, with narrower layers. Values and
pictures come from a hash of the name that networks_test.go computes too, so a file holds only
names, shapes and logits."""
import json, sys, zlib
import numpy as np, torch, torch.nn as nn, torch.nn.functional as F

CLASSES = 7


def uniform(name, n):
    """n numbers in [0, 1), multiples of 2^-24, from a hash of name and index."""
    x = (np.arange(n, dtype=np.uint64) + np.uint64(zlib.crc32(name.encode()))).astype(np.uint32)
    x ^= x >> np.uint32(16); x *= np.uint32(0x7feb352d)
    x ^= x >> np.uint32(15); x *= np.uint32(0x846ca68b)
    x ^= x >> np.uint32(16)
    return ((x >> np.uint32(8)).astype(np.float32) / np.float32(1 << 24))


def value(name, shape):
    u = uniform(name, int(np.prod(shape))).reshape(shape)
    if name.endswith("num_batches_tracked"):
        return np.array(100)
    if name.endswith("running_var") or name.endswith(".weight") and len(shape) == 1:
        return u + np.float32(0.5)
    if len(shape) == 1:  # a mean, a shift or a bias
        return u - np.float32(0.5)
    return (2 * u - 1) * np.float32(np.sqrt(6 / np.prod(shape[1:])))


def pictures(n, c, side):
    return 2 * uniform("pictures", n * c * side * side).reshape(n, c, side, side) - 1


def conv(i, o, kernel, stride=1):
    return nn.Conv2d(i, o, kernel, stride, kernel // 2, bias=False)


class BasicBlock(nn.Module):
    """torchvision.models.resnet.BasicBlock, with any width inside; option A as akamaster's."""
    expansion = 1

    def __init__(self, inp, width, stride, out, shortcut):
        super().__init__()
        self.conv1, self.bn1 = conv(inp, width, 3, stride), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv(width, out, 3), nn.BatchNorm2d(out)
        self.add_shortcut(inp, out, stride, shortcut)

    def add_shortcut(self, inp, out, stride, shortcut):
        self.word, self.pad = shortcut, None
        if stride == 1 and inp == out:
            self.word = None
        elif shortcut == "A":
            self.word, self.pad = None, out // 4
        else:
            setattr(self, shortcut, nn.Sequential(conv(inp, out, 1, stride), nn.BatchNorm2d(out)))

    def residual(self, x):
        if self.pad is not None:
            return F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.pad, self.pad))
        return getattr(self, self.word)(x) if self.word else x

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.residual(x))


class Bottleneck(BasicBlock):
    """torchvision.models.resnet.Bottleneck: the stride is in the 3x3 convolution."""
    expansion = 4

    def __init__(self, inp, width, stride, out, shortcut):
        nn.Module.__init__(self)
        self.conv1, self.bn1 = conv(inp, width, 1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv(width, width, 3, stride), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = conv(width, out, 1), nn.BatchNorm2d(out)
        self.add_shortcut(inp, out, stride, shortcut)

    def forward(self, x):
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.relu(self.bn2(self.conv2(y)))
        return F.relu(self.bn3(self.conv3(y)) + self.residual(x))


class ResNet(nn.Module):
    def __init__(self, block, blocks, width, shortcut="downsample", output="fc", large=False, inside=lambda s, b, w: w, classes=CLASSES):
        super().__init__()
        self.output, self.large = output, large
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False) if large else conv(3, width, 3)
        self.bn1 = nn.BatchNorm2d(width)
        inp, self.stages = width, len(blocks)
        for s, n in enumerate(blocks):
            layers = []
            for b in range(n):
                out = (width << s) * block.expansion
                layers.append(block(inp, inside(s, b, width << s), 2 if s > 0 and b == 0 else 1, out, shortcut))
                inp = out
            setattr(self, f"layer{s + 1}", nn.Sequential(*layers))
        setattr(self, output, nn.Linear(inp, classes))

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        if self.large:
            x = F.max_pool2d(x, 3, 2, 1)
        for s in range(self.stages):
            x = getattr(self, f"layer{s + 1}")(x)
        return getattr(self, self.output)(F.adaptive_avg_pool2d(x, 1).flatten(1))


class VGG(nn.Module):
    """torchvision.models.vgg.VGG of configuration A. side is the size of the average pool's
    output: 7 in torchvision, and 1 for pytorch-cifar-models, which has no such pool. Kuangliu's
    network has no hidden layers."""

    def __init__(self, width, hidden, side, bn):
        super().__init__()
        layers, inp = [], 3
        for c in (1, "M", 2, "M", 4, 4, "M", 8, 8, "M", 8, 8, "M"):
            if c == "M":
                layers.append(nn.MaxPool2d(2, 2))
                continue
            layers += [nn.Conv2d(inp, c * width, 3, padding=1)] + [nn.BatchNorm2d(c * width)] * bn + [nn.ReLU(True)]
            inp = c * width
        self.features, self.side = nn.Sequential(*layers), side
        if hidden is None:
            self.classifier = nn.Linear(inp, CLASSES)
            return
        self.classifier = nn.Sequential(nn.Linear(inp * side * side, hidden), nn.ReLU(True), nn.Dropout(),
                                        nn.Linear(hidden, hidden), nn.ReLU(True), nn.Dropout(), nn.Linear(hidden, CLASSES))

    def forward(self, x):
        return self.classifier(F.adaptive_avg_pool2d(self.features(x), self.side).flatten(1))


NETWORKS = {  # module, prefix of the names, side of the pictures
    "torchvision_resnet18": (lambda: ResNet(BasicBlock, (2, 2, 2, 2), 8, large=True), "", 64),
    "torchvision_resnet34": (lambda: ResNet(BasicBlock, (3, 4, 6, 3), 8, large=True), "_orig_mod.module.", 64),
    "torchvision_resnet50": (lambda: ResNet(Bottleneck, (3, 4, 6, 3), 4, large=True), "", 64),
    "timm_resnet26_cifar": (lambda: ResNet(Bottleneck, (2, 2, 2, 2), 4), "model.", 32),
    "kuangliu_resnet18": (lambda: ResNet(BasicBlock, (2, 2, 2, 2), 8, shortcut="shortcut", output="linear"), "module.", 32),
    "akamaster_resnet20": (lambda: ResNet(BasicBlock, (3, 3, 3), 8, shortcut="A", output="linear"), "module.", 32),
    "akamaster_resnet20_pruned": (lambda: ResNet(BasicBlock, (3, 3, 3), 8, shortcut="A", output="linear", inside=lambda s, b, w: w - 2 * b - s), "", 32),
    "chenyaofo_resnet20": (lambda: ResNet(BasicBlock, (3, 3, 3), 16), "", 32),
    "torchvision_resnet50_pruned": (lambda: ResNet(Bottleneck, (3, 4, 6, 3), 4, large=True, inside=lambda s, b, w: w - b % 3), "", 64),
    "chenyaofo_vgg11_bn": (lambda: VGG(8, 24, 1, True), "", 32),
    "kuangliu_vgg11": (lambda: VGG(8, None, 1, True), "module.", 32),
    "torchvision_vgg11": (lambda: VGG(2, 12, 7, False), "", 224),
    "torchvision_vgg11_bn": (lambda: VGG(2, 12, 7, True), "", 224),
}


@torch.no_grad()
def logits(net, x):
    return net.double().eval()(torch.from_numpy(x).double()).flatten().tolist()


def small(name):
    make, prefix, side = NETWORKS[name]
    net = make()
    # The counters of BatchNorms are tensors of the state dict, too.
    state = {k: torch.from_numpy(np.asarray(value(prefix + k, tuple(v.shape)))) for k, v in net.state_dict().items()}
    net.load_state_dict(state)
    x = pictures(2, 3, side)
    print("{" + f'"pictures": {json.dumps(x.shape)},\n"tensors": [')
    print(",\n".join(json.dumps([prefix + k, list(v.shape)]) for k, v in state.items()))
    print("],\n" + f'"logits": {json.dumps(logits(net, x))}' + "}")


def trained(path):
    state = {k.replace("module.", "", 1): v for k, v in torch.load(path, map_location="cpu")["state_dict"].items()}
    blocks = sum(k.endswith(".conv1.weight") for k in state) // 3
    net = ResNet(BasicBlock, (blocks,) * 3, 16, shortcut="A", output="linear", classes=10)
    net.load_state_dict(state)
    print(logits(net, pictures(2, 3, 32)))


if __name__ == "__main__":
    small(sys.argv[1]) if sys.argv[1] in NETWORKS else trained(sys.argv[1])
