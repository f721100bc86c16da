"""Numbers pasted into src/med3d/radiology/resample_test.cc and preprocess_test.cc.

python3 volume_resize.py   (written with numpy 1.24, scipy 1.10.1, Pillow 9.4.0)

The volume v(z, y, x) = (37 x + 101 y + 7 z z + 13 x y) mod 97 as float32; check sum of a result:
sum of v_i (i mod 89 + 1) over its voxels, x fastest.
"""
import numpy as np
from PIL import Image
from scipy import ndimage


def grid(depth, height, width):
    z, y, x = np.meshgrid(np.arange(depth), np.arange(height), np.arange(width), indexing="ij")
    return ((37 * x + 101 * y + 7 * z * z + 13 * x * y) % 97).astype(np.float32)


def checksum(v):
    v = np.asarray(v, np.float64).ravel()
    return float((v * (np.arange(v.size) % 89 + 1)).sum())


def zoom(v, size, order):
    return ndimage.zoom(v.astype(np.float64), [o / i for o, i in zip(size, v.shape)], order=order)


for shape, size in [((7, 8, 9), (11, 5, 9)), ((7, 8, 9), (3, 20, 4)), ((5, 3, 128), (5, 2, 14)),
                    ((4, 1, 6), (1, 1, 3))]:
    for order in (0, 1):
        out = zoom(grid(*shape), size, order)
        assert out.shape == size
        print("zoom", order, shape, size, repr(checksum(out)))

# Pillow's BILINEAR on mode F is the triangle filter, one plane at a time.
for shape, size in [((7, 8, 9), (11, 5, 9)), ((7, 8, 9), (3, 20, 4)), ((9, 30, 31), (4, 7, 64))]:
    v = grid(*shape)
    plane = np.stack([np.asarray(Image.fromarray(s).resize((size[2], size[1]), Image.BILINEAR)) for s in v])
    deep = plane.reshape(shape[0], -1)
    out = np.asarray(Image.fromarray(deep).resize((deep.shape[1], size[0]), Image.BILINEAR)).reshape(size)
    print("triangle", shape, size, repr(checksum(out)), out[0, 0, 0], out[-1, -1, -1])

v = grid(7, 8, 9).astype(np.float64)
paper = zoom((np.clip(v * 40 - 1500, -1024, 1024) + 158.58) / 324.70, (5, 6, 4), 1)
print("paper", repr(checksum(paper)), repr(paper[0, 0, 0]), repr(paper[-1, -1, -1]))
mr = v.copy()
low, high = np.percentile(mr[mr != 0], [1, 99])
inside = np.clip(mr[mr != 0], low, high)
out = np.zeros_like(mr)
out[mr != 0] = (inside - inside.mean()) / inside.std()
print("mr", low, high, repr(checksum(out)), repr(out[0, 0, 1]))
