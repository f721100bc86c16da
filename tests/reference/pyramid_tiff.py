"""Opens a pyramidal TIFF with OpenSlide and tifffile and prints what each finds; pyramid_tiff_test.cc
compares the lines. Exit code 77: a package is missing.

/usr/bin/python3 pyramid_tiff.py FILE   (written with OpenSlide 3.4.1, tifffile 2023.2.3)
"""
import sys

try:
    import numpy as np
    import openslide
    import tifffile
except ImportError as error:
    print(error.name)
    sys.exit(77)

path = sys.argv[1]
slide = openslide.OpenSlide(path)
print("vendor", slide.properties["openslide.vendor"])
print("levels", *("%dx%d" % size for size in slide.level_dimensions))
for key in ("openslide.mpp-x", "openslide.objective-power", "tiff.XResolution"):
    print(key, "%.4g" % float(slide.properties.get(key, 0)))
for level, size in enumerate(slide.level_dimensions):
    rgb = np.asarray(slide.read_region((0, 0), level, size))[:, :, :3].astype(np.int64)
    print("openslide", level, int(rgb.sum()), int((rgb * (np.arange(rgb.size) % 89 + 1).reshape(rgb.shape)).sum()))
with tifffile.TiffFile(path) as tiff:
    print("big", tiff.is_bigtiff, "pages", len(tiff.pages))
    print("subfiles", *(page.subfiletype for page in tiff.pages))
    print("compressions", *sorted({int(page.compression) for page in tiff.pages}))
    if "--pixels" in sys.argv:
        for level, page in enumerate(tiff.pages):
            rgb = page.asarray().astype(np.int64)
            print("tifffile", level, int(rgb.sum()), int((rgb * (np.arange(rgb.size) % 89 + 1).reshape(rgb.shape)).sum()))
