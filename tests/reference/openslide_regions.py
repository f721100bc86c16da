#!/usr/bin/env python3
"""SHA-256 of regions as OpenSlide gives them: the table in src/med3d/wsi/readers/tiff_test.cc.

    openslide_regions.py SLIDES_FOLDER

Made with openslide-python 1.2.0 on OpenSlide 3.4.1 (Debian 12): read_region(...).convert("RGB"). On the
levels below the first, corners are such that (x, y) / downsample is whole to 1/512, where OpenSlide
copies pixels and does not blend them. Associated images are level -1; x is their place in the alphabet.
"""

import hashlib
import pathlib
import random
import sys

import openslide

SLIDES = ["CMU-1-Small-Region.svs", "TCGA-CR-7395-01A-01-TS1.svs", "mosaic.tif"]


def sha(image):
    return hashlib.sha256(image.convert("RGB").tobytes()).hexdigest()


def whole(rng, size, downsample):
    """A level-0 coordinate inside a level of `size` pixels that lies on one of its pixels."""
    while True:
        x = int(rng.randrange(size) * downsample) + rng.randrange(2)
        if abs(x / downsample - round(x / downsample)) < 1 / 600:
            return x


def main():
    folder = pathlib.Path(sys.argv[1])
    rng = random.Random(3)
    for name in SLIDES:
        slide = openslide.OpenSlide(str(folder / name))
        for level, (width, height) in enumerate(slide.level_dimensions):
            scale = slide.level_downsamples[level]
            corners = [(whole(rng, width, scale), whole(rng, height, scale)) for _ in range(3)]
            corners += [(-40, -30), (whole(rng, width, scale), -7)]
            corners += [(int(width * scale) + 5000, 0)] if level == 0 else []
            corners += [(width - 100, height - 60)] if level == 0 else []
            for x, y in corners:
                w, h = rng.choice([(256, 256), (300, 90), (1, 1), (64, 500)])
                region = slide.read_region((x, y), level, (w, h))
                print(f'{{"{name}", {level}, {x}, {y}, {w}, {h}, "{sha(region)}"}},')
        for i, kind in enumerate(sorted(slide.associated_images)):
            image = slide.associated_images[kind]
            print(f'{{"{name}", -1, {i}, 0, {image.width}, {image.height}, "{sha(image)}"}},')


if __name__ == "__main__":
    main()
