#!/usr/bin/env python3
"""Three-dimensional residual nets in plain PyTorch, for src/med3d/encoders/medicalnet_test.cc.

    /usr/bin/python3 tests/reference/medicalnet_reference.py

prints the expectations of the test: nets of width 8 in every variant, in f64. Written from the paper
and the names of MedicalNet's tensors; uses torch functions only. Run with torch 1.13.1, numpy 1.24.2.
Weights and volume come from a formula that the test computes too: no data file is needed.
"""
import numpy as np
import torch
import torch.nn.functional as F

EXTENT = (13, 20, 17)
CASES = [  # name, blocks, bottleneck, shortcut, dilated, bias in the shortcut
    ("10 B", (1, 1, 1, 1), False, "B", True, False),
    ("18 A", (2, 2, 2, 2), False, "A", True, False),
    ("18 B", (2, 2, 2, 2), False, "B", True, False),
    ("34 A", (3, 4, 6, 3), False, "A", True, False),
    ("50 B", (3, 4, 6, 3), True, "B", True, False),
    ("50 A", (3, 4, 6, 3), True, "A", True, False),
    ("18 A monai", (2, 2, 2, 2), False, "A", False, False),
    ("18 B monai bias", (2, 2, 2, 2), False, "B", False, True),
    ("50 B monai", (3, 4, 6, 3), True, "B", False, False),
]


def hashed(name, n):
    """n numbers in [-1, 1): the finaliser of MurmurHash3 on a counter that starts with the name."""
    start = sum((i + 1) * ord(c) for i, c in enumerate(name)) * 65537
    x = ((np.arange(n, dtype=np.uint64) + np.uint64(start)) & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x85EBCA6B)
    x ^= x >> np.uint32(13)
    x *= np.uint32(0xC2B2AE35)
    x ^= x >> np.uint32(16)
    return x.astype(np.int32).astype(np.float64) / 2147483648.0


def tensor(name, shape):
    v = hashed(name, int(np.prod(shape)))
    if len(shape) > 1:  # by fan-out
        v = v * np.sqrt(6.0 / (np.prod(shape) / shape[1]))
    elif name.endswith("running_var"):
        v = 1.0 + 0.3 * v
    elif name.endswith("weight"):
        v = 1.0 + 0.2 * v
    else:
        v = 0.1 * v
    return torch.from_numpy(v.astype(np.float32).astype(np.float64).reshape(shape))


def convolution(x, name, norm, out, k, stride, dilation, bias=False):
    w = tensor(name + ".weight", (out, x.shape[1], k, k, k))
    b = tensor(name + ".bias", (out,)) if bias else None
    x = F.conv3d(x, w, b, stride=stride, padding=dilation * (k // 2), dilation=dilation)
    part = {p: tensor(f"{norm}.{p}", (out,)) for p in ("running_mean", "running_var", "weight", "bias")}
    return F.batch_norm(x, part["running_mean"], part["running_var"], part["weight"], part["bias"],
                        False, 0.1, 1e-5)


def net(x, blocks, bottleneck, shortcut, dilated, bias, width=8):
    x = F.relu(convolution(x, "conv1", "bn1", width, 7, 2, 1))
    x = F.max_pool3d(x, 3, 2, 1)
    for g, count in enumerate(blocks):
        w = width << g
        out = 4 * w if bottleneck else w
        dilation = {2: 2, 3: 4}.get(g, 1) if dilated else 1
        for b in range(count):
            n = f"layer{g + 1}.{b}."
            stride = 2 if b == 0 and (g == 1 or (g > 1 and not dilated)) else 1
            y, other = x, x
            if b == 0 and (stride != 1 or x.shape[1] != out):
                if shortcut == "A":
                    other = F.avg_pool3d(x, 1, stride)
                    zeros = torch.zeros(1, out - other.shape[1], *other.shape[2:], dtype=x.dtype)
                    other = torch.cat([other, zeros], 1)
                else:
                    other = convolution(x, n + "downsample.0", n + "downsample.1", out, 1, stride, 1, bias)
            if bottleneck:
                y = F.relu(convolution(y, n + "conv1", n + "bn1", w, 1, 1, 1))
                y = F.relu(convolution(y, n + "conv2", n + "bn2", w, 3, stride, dilation))
                y = convolution(y, n + "conv3", n + "bn3", out, 1, 1, 1)
            else:
                y = F.relu(convolution(y, n + "conv1", n + "bn1", w, 3, stride, dilation))
                y = convolution(y, n + "conv2", n + "bn2", out, 3, 1, dilation)
            x = F.relu(y + other)
    return x


def main():
    volume = hashed("volume", int(np.prod(EXTENT))).astype(np.float32).astype(np.float64)
    x = torch.from_numpy(volume.reshape(1, 1, *EXTENT))
    for name, *design in CASES:
        features = net(x, *design)
        e = features.mean((2, 3, 4))[0].numpy()
        numbers = [*e[:3], e[-1], np.sqrt((e ** 2).sum()), (np.arange(1, e.size + 1) * e).sum(),
                   float(features[0, 1, 0, -1, 0])]
        print(name, tuple(features.shape[1:]), ", ".join(f"{v:.9g}" for v in numbers))


if __name__ == "__main__":
    main()
