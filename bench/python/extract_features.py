#!/usr/bin/env python3
"""Features of a slide's tiles with the libraries CLAM uses, step for step.

    extract_features.py slide=FILE coords=FILE.h5 weights=FILE.pth output=FOLDER [threads=2] [batch=256]

The work of CLAM's extract_features_fp.py: a tile at a time through openslide-python and PIL, torchvision's
Resize, ToTensor and Normalize, ResNet-50 to the end of layer3 in eager f32, batches of 256, features and
coordinates appended to HDF5, and a .pt beside it. Its imports are counted in process_cpu_s.
"""

import os
import sys

import h5py
import numpy as np
import openslide
import torch
import torchvision
from torchvision import transforms

from measure import Stopwatch, say


class Tiles(torch.utils.data.Dataset):
    def __init__(self, slide, coords, level, size, transform):
        self.slide, self.coords, self.level, self.size = slide, coords, level, size
        self.transform = transform

    def __len__(self):
        return len(self.coords)

    def __getitem__(self, i):
        tile = self.slide.read_region(tuple(self.coords[i]), self.level, (self.size, self.size))
        return self.transform(tile.convert("RGB")), self.coords[i]


def network(path):
    whole = torchvision.models.resnet50(weights=None)
    net = torch.nn.Sequential(whole.conv1, whole.bn1, whole.relu, whole.maxpool, whole.layer1,
                              whole.layer2, whole.layer3, torch.nn.AdaptiveAvgPool2d(1),
                              torch.nn.Flatten())
    names = ["conv1", "bn1", None, None, "layer1", "layer2", "layer3"]
    state = torch.load(path, map_location="cpu")
    own = {}
    for i, name in enumerate(names):
        if name:
            own.update({f"{i}.{key[len(name) + 1:]}": value for key, value in state.items()
                        if key.startswith(name + ".")})
    net.load_state_dict(own)
    return net.eval()


def main():
    given = dict(word.split("=", 1) for word in sys.argv[1:])
    threads = int(given.get("threads", 2))
    torch.set_num_threads(threads)
    with h5py.File(given["coords"]) as file:
        coords = file["coords"][:]
        level = int(file["coords"].attrs["patch_level"])
        size = int(file["coords"].attrs["patch_size"])
    watch = Stopwatch()
    transform = transforms.Compose([
        transforms.Resize(224), transforms.ToTensor(),
        transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))])
    slide = openslide.OpenSlide(given["slide"])
    net = network(given["weights"])
    tiles = Tiles(slide, coords, level, size, transform)
    os.makedirs(given["output"], exist_ok=True)
    stem = os.path.join(given["output"], os.path.splitext(os.path.basename(given["slide"]))[0])
    with h5py.File(stem + ".h5", "w") as file, torch.inference_mode():
        features = None
        loader = torch.utils.data.DataLoader(tiles, batch_size=int(given.get("batch", 256)))
        for batch, at in loader:
            values = net(batch).numpy().astype(np.float32)
            if features is None:
                features = file.create_dataset("features", data=values, chunks=(32, 1024),
                                               maxshape=(None, 1024))
                places = file.create_dataset("coords", data=at.numpy().astype(np.int32),
                                             chunks=(32, 2), maxshape=(None, 2))
            else:
                features.resize(len(features) + len(values), axis=0)
                features[-len(values):] = values
                places.resize(len(places) + len(values), axis=0)
                places[-len(values):] = at.numpy()
        torch.save(torch.from_numpy(features[:]), stem + ".pt")
    watch.stop()
    say(f"{len(coords)} tiles, {len(coords) / watch.wall_s:.1f} a second", watch, tiles=len(coords))


if __name__ == "__main__":
    main()
