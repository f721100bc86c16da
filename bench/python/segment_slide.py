#!/usr/bin/env python3
"""Segmentation, tiling and pictures of one slide with the libraries CLAM uses, step for step.

    segment_slide.py slide=FILE [preset=tcga] [output=FOLDER]

The same work as ../segment_slide.cc, which must find as many tiles. The imports are those of CLAM's
create_patches_fp.py but matplotlib; they are counted in process_cpu_s, not in work_cpu_s.
"""

import math
import multiprocessing
import os
import sys

import cv2
import h5py
import numpy as np
import openslide
import pandas  # noqa: F401
from PIL import Image

from measure import Stopwatch, say

PRESETS = {  # sthresh, mthresh, close, a_t, a_h, max_n_holes, line_thickness
    "default": (8, 7, 4, 100, 16, 8, 250),
    "bwh_biopsy": (15, 11, 2, 1, 1, 2, 50),
    "bwh_resection": (15, 11, 4, 100, 16, 8, 150),
    "tcga": (8, 7, 4, 16, 4, 8, 100),
}
SIDE = 256


def scaled(contour, scale):
    return (contour * scale).astype(np.int32)


def segment(slide, level, scale, preset):
    sthresh, mthresh, close, a_t, a_h, max_n_holes, _ = preset
    pixels = np.array(slide.read_region((0, 0), level, slide.level_dimensions[level]))
    saturation = cv2.cvtColor(pixels, cv2.COLOR_RGB2HSV)[:, :, 1]
    _, mask = cv2.threshold(cv2.medianBlur(saturation, mthresh), sthresh, 255, cv2.THRESH_BINARY)
    if close > 0:
        mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((close, close), np.uint8))
    rings, tree = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    unit = int(512**2 / (scale[0] * scale[1]))
    regions = []
    for i in [] if tree is None else np.flatnonzero(tree[0][:, 3] == -1):
        holes = [rings[k] for k in np.flatnonzero(tree[0][:, 3] == i)]
        area = cv2.contourArea(rings[i]) - sum(cv2.contourArea(hole) for hole in holes)
        if area == 0 or area <= a_t * unit:
            continue
        holes = sorted(holes, key=cv2.contourArea, reverse=True)[:max_n_holes]
        holes = [scaled(hole, scale) for hole in holes if cv2.contourArea(hole) > a_h * unit]
        regions.append((scaled(rings[i], scale), holes))
    return regions


def wanted(place):
    x, y, outline, holes = place
    centre = SIDE // 2
    shift = centre // 2
    corners = [(a, b) for a in (-shift, shift) for b in (-shift, shift)]
    inside = any(
        cv2.pointPolygonTest(outline, (float(x + centre + a), float(y + centre + b)), False) >= 0
        for a, b in corners
    )
    middle = (x + SIDE / 2, y + SIDE / 2)
    return inside and not any(cv2.pointPolygonTest(hole, middle, False) > 0 for hole in holes)


def tile(regions):
    tiles = []
    for outline, holes in regions:
        left, top, width, height = cv2.boundingRect(outline)
        places = [
            (int(x), int(y), outline, holes)
            for x in np.arange(left, left + width, SIDE)
            for y in np.arange(top, top + height, SIDE)
        ]
        with multiprocessing.Pool(min(4, multiprocessing.cpu_count())) as pool:
            keep = pool.map(wanted, places)
        found = [place[:2] for place, yes in zip(places, keep) if yes]
        tiles += found if len(found) > 1 else []
    return np.array(tiles, dtype=np.int64).reshape(-1, 2)


def pictures(slide, level, scale, regions, tiles, thickness, folder, name):
    size = slide.level_dimensions[level]
    image = np.array(slide.read_region((0, 0), level, size).convert("RGB"))
    line = max(1, int(thickness * math.sqrt(1 / (scale[0] * scale[1]))))
    down = (1 / scale[0], 1 / scale[1])
    cv2.drawContours(image, [scaled(o, down) for o, _ in regions], -1, (0, 255, 0), line)
    for _, holes in regions:
        cv2.drawContours(image, [scaled(hole, down) for hole in holes], -1, (0, 0, 255), line)
    Image.fromarray(image).save(os.path.join(folder, "masks", name + ".jpg"))
    canvas = np.array(Image.new("RGB", size))
    side = tuple(int(math.ceil(SIDE / factor)) for factor in scale)
    for corner in tiles:
        patch = np.array(slide.read_region(tuple(corner), level, side).convert("RGB"))
        x, y = (int(math.ceil(value / factor)) for value, factor in zip(corner, scale))
        part = canvas[y : y + side[1], x : x + side[0]]
        part[:] = patch[: part.shape[0], : part.shape[1]]
    Image.fromarray(canvas).save(os.path.join(folder, "stitches", name + ".jpg"))


def main():
    arguments = dict(word.split("=", 1) for word in sys.argv[1:])
    path = arguments["slide"]
    preset = PRESETS[arguments.get("preset", "tcga")]
    output = arguments.get("output", "")
    watch = Stopwatch()
    slide = openslide.open_slide(path)
    level = slide.get_best_level_for_downsample(64) if slide.level_count > 1 else 0
    scale = tuple(a / b for a, b in zip(slide.dimensions, slide.level_dimensions[level]))
    regions = segment(slide, level, scale, preset)
    tiles = tile(regions)
    if output:
        name = os.path.splitext(os.path.basename(path))[0]
        for folder in ("patches", "masks", "stitches"):
            os.makedirs(os.path.join(output, folder), exist_ok=True)
        with h5py.File(os.path.join(output, "patches", name + ".h5"), "w") as file:
            data = file.create_dataset("coords", data=tiles, maxshape=(None, 2), chunks=(1, 2))
            data.attrs["patch_size"] = SIDE
        pictures(slide, level, scale, regions, tiles, preset[6], output, name)
    watch.stop()
    slide_id = os.path.basename(path)
    say(
        f"{slide_id}: {watch.cpu_s:.3f} CPU s, {len(tiles)} tiles",
        watch,
        program="segment_slide.py",
        slide=slide_id,
        tiles=len(tiles),
    )


if __name__ == "__main__":
    main()
