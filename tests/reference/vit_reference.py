#!/usr/bin/env python3
"""Vision transformers in plain PyTorch, for src/med3d/encoders/internal/vit_test.cc.

    /usr/bin/python3 tests/reference/vit_reference.py            print the expectations of the test
    /usr/bin/python3 tests/reference/vit_reference.py uni FOLDER  seeded nets of full size:
    /usr/bin/python3 tests/reference/vit_reference.py conch FOLDER  weights.pth, tiles.npy and
                                                                  embeddings.npy

Written from the papers and from the names of timm's and open_clip's tensors; uses torch functions
only. Run with torch 1.13.1, numpy 1.24.2. Small weights come from a formula that the test computes
too: no data file is needed.
"""
import sys

import numpy as np
import torch
import torch.nn.functional as F


def shapes(net):
    """Names and shapes, as the state dict has them."""
    w, h, p = net["width"], net["mlp_width"], net["patch_px"]
    cells = (net["position_px"] // p) ** 2
    t = net["trunk"]
    out = {
        t + "cls_token": (1, 1, w),
        t + "pos_embed": (1, cells + 1, w),
        t + "patch_embed.proj.weight": (w, 3, p, p),
        t + "patch_embed.proj.bias": (w,),
        t + "norm.weight": (w,),
        t + "norm.bias": (w,),
    }
    for i in range(net["depth"]):
        b = f"{t}blocks.{i}."
        for name, rows, cols in (("attn.qkv", 3 * w, w), ("attn.proj", w, w),
                                 ("mlp.fc1", h, w), ("mlp.fc2", w, h)):
            out[b + name + ".weight"] = (rows, cols)
            out[b + name + ".bias"] = (rows,)
        for name in ("norm1", "norm2"):
            out[b + name + ".weight"] = out[b + name + ".bias"] = (w,)
        if net["layer_scale"]:
            out[b + "ls1.gamma"] = out[b + "ls2.gamma"] = (w,)
    o = net["pool_width"]
    if o:
        a = net["pool"] + "attn_pool_contrast."
        out[a + "query"] = (1, o)
        out[a + "attn.q_proj_weight"] = (o, o)
        out[a + "attn.k_proj_weight"] = out[a + "attn.v_proj_weight"] = (o, w)
        out[a + "attn.in_proj_bias"] = (3 * o,)
        out[a + "attn.out_proj.weight"] = (o, o)
        out[a + "attn.out_proj.bias"] = (o,)
        for name, size in ((a + "ln_q", o), (a + "ln_k", w), (net["pool"] + "ln_contrast", o)):
            out[name + ".weight"] = out[name + ".bias"] = (size,)
    return out


def formula(name, shape):
    phase = sum((i + 1) * ord(c) for i, c in enumerate(name)) % 997
    i = np.arange(int(np.prod(shape)), dtype=np.float64)
    s = np.sin(0.618 * i * i + phase)
    if name.endswith(".gamma"):
        v = 0.5 + 0.3 * s
    elif len(shape) == 1:
        v = 1.0 + 0.3 * s if name.endswith(".weight") else 0.2 * s
    elif name.endswith(("cls_token", "pos_embed", "query")):
        v = 0.5 * s
    else:
        v = 1.5 / np.sqrt(float(np.prod(shape[1:]))) * s
    return torch.from_numpy(v.astype(np.float32)).reshape(shape)


def formula_tiles(n, px):
    k = np.arange(px * px * 3, dtype=np.int64)
    return np.stack([(k * k * 7 + k * 13 + t * 101) % 256 for t in range(n)]).astype(
        np.uint8).reshape(n, px, px, 3)


def heads(x, n):  # (b, t, w) -> (b, n, t, w / n)
    return x.reshape(x.shape[0], x.shape[1], n, -1).transpose(1, 2)


def attend(q, k, v, n):
    q, k, v = heads(q, n), heads(k, n), heads(v, n)
    share = F.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5, dim=-1)
    return (share @ v).transpose(1, 2).flatten(2)


def encode(net, p, tiles):
    t, w = net["trunk"], net["width"]
    x = torch.from_numpy(tiles).float().permute(0, 3, 1, 2) / 255
    x = (x - torch.tensor(net["mean"]).view(1, 3, 1, 1)) / torch.tensor(
        net["stddev"]).view(1, 3, 1, 1)
    x = F.conv2d(x, p[t + "patch_embed.proj.weight"], p[t + "patch_embed.proj.bias"],
                 stride=net["patch_px"]).flatten(2).transpose(1, 2)
    x = torch.cat([p[t + "cls_token"].expand(len(x), -1, -1), x], 1)
    pos = p[t + "pos_embed"]
    old, new = net["position_px"] // net["patch_px"], net["input_px"] // net["patch_px"]
    if old != new:
        grid = pos[:, 1:].reshape(1, old, old, w).permute(0, 3, 1, 2)
        grid = F.interpolate(grid, size=(new, new), mode="bicubic", antialias=True)
        pos = torch.cat([pos[:, :1], grid.permute(0, 2, 3, 1).reshape(1, -1, w)], 1)
    x = x + pos
    norm = lambda y, name, size, eps: F.layer_norm(  # noqa: E731
        y, (size,), p[name + ".weight"], p[name + ".bias"], eps)
    linear = lambda y, name: F.linear(y, p[name + ".weight"], p[name + ".bias"])  # noqa: E731
    for i in range(net["depth"]):
        b = f"{t}blocks.{i}."
        q, k, v = linear(norm(x, b + "norm1", w, 1e-6), b + "attn.qkv").chunk(3, -1)
        y = linear(attend(q, k, v, net["heads"]), b + "attn.proj")
        x = x + (y * p[b + "ls1.gamma"] if net["layer_scale"] else y)
        y = linear(F.gelu(linear(norm(x, b + "norm2", w, 1e-6), b + "mlp.fc1")), b + "mlp.fc2")
        x = x + (y * p[b + "ls2.gamma"] if net["layer_scale"] else y)
    x = norm(x, t + "norm", w, 1e-6)
    o = net["pool_width"]
    if not o:
        return x[:, 0]
    a = net["pool"] + "attn_pool_contrast."
    q = norm(p[a + "query"], a + "ln_q", o, 1e-5)
    x = norm(x, a + "ln_k", w, 1e-5).transpose(0, 1)
    y = F.multi_head_attention_forward(
        q.unsqueeze(1).expand(-1, x.shape[1], -1), x, x, o, net["pool_heads"], None,
        p[a + "attn.in_proj_bias"], None, None, False, 0.0, p[a + "attn.out_proj.weight"],
        p[a + "attn.out_proj.bias"], training=False, need_weights=False,
        use_separate_proj_weight=True, q_proj_weight=p[a + "attn.q_proj_weight"],
        k_proj_weight=p[a + "attn.k_proj_weight"], v_proj_weight=p[a + "attn.v_proj_weight"])[0]
    return norm(y[0], net["pool"] + "ln_contrast", o, 1e-5)


IMAGENET = {"mean": (0.485, 0.456, 0.406), "stddev": (0.229, 0.224, 0.225)}
SMALL = dict(IMAGENET, input_px=32, patch_px=8, position_px=32, width=64, depth=3, heads=4,
             mlp_width=256, layer_scale=True, pool_width=0, trunk="", pool="")
SMALL_POOLED = dict(IMAGENET, input_px=32, patch_px=8, position_px=64, width=48, depth=2, heads=3,
                    mlp_width=192, layer_scale=False, pool_width=32, pool_heads=4,
                    trunk="visual.trunk.", pool="visual.")
UNI = dict(IMAGENET, input_px=224, patch_px=16, position_px=224, width=1024, depth=24, heads=16,
           mlp_width=4096, layer_scale=True, pool_width=0, trunk="", pool="")

CONCH = dict(mean=(0.48145466, 0.4578275, 0.40821073), stddev=(0.26862954, 0.26130258, 0.27577711),
             input_px=224, patch_px=16, position_px=448, width=768, depth=12, heads=12,
             mlp_width=3072, layer_scale=False, pool_width=512, pool_heads=8,
             trunk="visual.trunk.", pool="visual.")


def print_expectations():
    for name, net in (("kSmall", SMALL), ("kSmallPooled", SMALL_POOLED)):
        weights = {k: formula(k, s) for k, s in shapes(net).items()}
        weights = {k: v.double() for k, v in weights.items()}
        torch.set_default_dtype(torch.float64)
        y = encode(dict(net), weights, formula_tiles(2, net["input_px"]).astype(np.float64))
        torch.set_default_dtype(torch.float32)
        for row in y:
            i = torch.arange(1, len(row) + 1, dtype=torch.float64)
            values = list(row[:6]) + [row[-1], row.norm(), (row * i).sum()]
            print(name, ", ".join(f"{float(v):.7f}" for v in values))


def write_full(net, folder):
    torch.manual_seed(1)
    weights = {}
    for name, shape in shapes(net).items():
        w = torch.randn(shape)
        if name.endswith(".gamma"):
            w = 0.3 + 0.1 * w
        elif len(shape) == 1:
            w = 1 + 0.2 * w if name.endswith(".weight") else 0.1 * w
        elif name.endswith(("cls_token", "pos_embed", "query")):
            w = 0.2 * w
        else:
            w = w / float(np.prod(shape[1:])) ** 0.5
        weights[name] = w
    torch.save(weights, folder + "/weights.pth")
    rng = np.random.RandomState(0)
    small = torch.from_numpy(rng.rand(5, 3, 14, 14).astype(np.float32)) * 255
    tiles = F.interpolate(small, size=(224, 224), mode="bilinear").permute(0, 2, 3, 1)
    tiles = (tiles + torch.from_numpy(rng.randn(*tiles.shape).astype(np.float32)) * 10)
    tiles = tiles.clamp(0, 255).byte().numpy()
    np.save(folder + "/tiles.npy", tiles)
    with torch.no_grad():
        np.save(folder + "/embeddings.npy", encode(net, weights, tiles).numpy())


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] in ("uni", "conch"):
        write_full({"uni": UNI, "conch": CONCH}[sys.argv[1]], sys.argv[2])
    elif len(sys.argv) == 1:
        print_expectations()
    else:
        sys.exit(__doc__)
