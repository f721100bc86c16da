"""Values pasted into src/med3d/encoders/resize_test.cc.

python3 pil_resize.py   (written with Pillow 9.4.0, numpy 1.24.2)
"""
import hashlib

import numpy as np
from PIL import Image


def picture(width, height):
    """The same bytes in C++ and Python: no random generator to agree on."""
    y, x, c = np.ogrid[:height, :width, :3]
    smooth = (x * 5 + y * 3 + c * 40) % 256
    rough = (x * x * 31 + y * 57 + x * y * 13 + c * 101) % 251
    return np.where((x // 8 + y // 8) % 2 == 0, smooth, rough).astype(np.uint8)


SIZES = [
    (256, 256, 224, 224), (512, 512, 224, 224), (300, 200, 224, 224), (224, 300, 224, 224),
    (300, 224, 224, 224), (97, 61, 224, 224), (1000, 7, 33, 5), (1, 1, 4, 3), (5, 5, 1, 1),
    (255, 257, 256, 256), (3, 900, 2, 11), (224, 224, 224, 224),
]
for from_w, from_h, to_w, to_h in SIZES:
    resized = Image.fromarray(picture(from_w, from_h)).resize((to_w, to_h), Image.BILINEAR)
    print(f'{{{from_w}, {from_h}, {to_w}, {to_h}, "{hashlib.sha256(resized.tobytes()).hexdigest()}"}},')
