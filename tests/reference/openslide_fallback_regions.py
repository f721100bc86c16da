"""Hashes pasted into src/med3d/wsi/readers/openslide_test.cc.

python3 openslide_fallback_regions.py CMU-1-Small-Region.svs TCGA-CR-7395-01A-01-TS1.svs
(written with openslide-python 1.2.0, OpenSlide 3.4.1, Pillow 9.4.0)
"""
import hashlib
import sys

import openslide


def show(image):
    print(" ", image.size, hashlib.sha256(image.convert("RGB").tobytes()).hexdigest())


for name, regions in [(sys.argv[1], [((100, 200), 0, (512, 300)), ((-40, 2900), 0, (300, 200))]),
                      (sys.argv[2], [((1000, 700), 0, (300, 300)), ((301, 403), 1, (256, 256))])]:
    slide = openslide.OpenSlide(name)
    print(name.rsplit("/", 1)[-1])
    for region in regions:
        show(slide.read_region(*region))
    for image in sorted(slide.associated_images):
        print(" ", image)
        show(slide.associated_images[image])
