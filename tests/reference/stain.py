"""Values pasted into src/med3d/wsi/stain_test.cc.

/usr/bin/python3 stain.py   (written with numpy 1.24.2)

Both methods from their papers, straight forward: eigenvectors by numpy, l-alpha-beta and back pixel
by pixel. The conventions (I + 1 over the light, natural logarithm) are those of the header.
"""
import numpy as np

LIGHT, BETA, ALPHA = 240.0, 0.15, 1.0
REF = np.array([[0.5626, 0.2159], [0.7201, 0.8012], [0.4062, 0.5581]])
REF_C = np.array([1.9705, 1.0308])
MEAN = np.array([8.74108109, -0.12440419, 0.0444982])
STD = np.array([0.6135447, 0.10989545, 0.0286032])


def pixels(n):
    """Two stains in amounts that need no random generator, every seventh pixel glass."""
    i = np.arange(n)
    h = (i * 37 + i * i * 5) % 97 / 97.0 * 1.6
    e = (i * 53 + i * i * 3) % 89 / 89.0 * 1.1 + 0.1
    od = np.outer(h, [0.65, 0.70, 0.29]) + np.outer(e, [0.10, 0.95, 0.30])
    rgb = np.floor(LIGHT * np.exp(-od) + 0.5).clip(0, 255)
    rgb[i % 7 == 0] = 245
    return rgb.astype(np.uint8)


def macenko(rgb):
    od = -np.log((rgb.astype(float) + 1) / LIGHT)
    tissue = od[~np.any(od < BETA, axis=1)]
    _, vectors = np.linalg.eigh(np.cov(tissue.T))
    plane = vectors[:, [2, 1]]
    if plane[:, 0].sum() < 0:
        plane[:, 0] *= -1
    t = tissue @ plane
    phi = np.arctan2(t[:, 1], t[:, 0])
    ends = [plane @ [np.cos(a), np.sin(a)] for a in np.percentile(phi, [ALPHA, 100 - ALPHA])]
    ends.sort(key=lambda v: -v[0])
    stains = np.array(ends).T
    c = np.linalg.lstsq(stains, tissue.T, rcond=None)[0]
    return len(tissue), stains, np.percentile(c, 99, axis=1)


def macenko_apply(rgb, stains, top):
    od = -np.log((rgb.astype(float) + 1) / LIGHT)
    c = np.linalg.lstsq(stains, od.T, rcond=None)[0] * (REF_C / top)[:, None]
    return np.floor((LIGHT * np.exp(-REF @ c) - 1).clip(0, 255) + 0.5).T.astype(int)


LMS = np.array([[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]])
LAB = np.diag([3**-0.5, 6**-0.5, 2**-0.5]) @ np.array([[1, 1, 1], [1, 1, -2], [1, -1, 0]])


def lab(rgb):
    return np.log(np.maximum(rgb.astype(float), 1) @ LMS.T) @ LAB.T


def reinhard_apply(rgb, mean, std):
    moved = (lab(rgb) - mean) / std * STD + MEAN
    back = np.exp(moved @ np.linalg.inv(LAB).T) @ np.linalg.inv(LMS).T
    return np.floor(back.clip(0, 255) + 0.5).astype(int)


rgb = pixels(5000)
n, stains, top = macenko(rgb)
print("first", rgb[:4].tolist(), "sum", int(rgb.astype(int).sum()))
print("tissue", n)
print("haematoxylin", stains[:, 0].tolist())
print("eosin", stains[:, 1].tolist())
print("top", top.tolist())
out = macenko_apply(rgb, stains, top)
print("macenko", out[:6].tolist(), "sum", int(out.sum()))
od = -np.log((rgb.astype(float) + 1) / LIGHT)
tissue = rgb[~np.any(od < BETA, axis=1)]
mean, std = lab(tissue).mean(axis=0), lab(tissue).std(axis=0)
print("mean", mean.tolist(), "std", std.tolist())
out = reinhard_apply(rgb, mean, std)
print("reinhard", out[:6].tolist(), "sum", int(out.sum()))
