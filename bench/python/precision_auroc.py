"""What f32, bf16 and int8 features do to the AUROC of a real task.

    precision_auroc.py ADRENALMNIST3D_64.npz MED3D FOLDER [--encoder NAME] [--weights FILE]

One tile a patient: the sums of the 64^3 voxels along each axis as red, green and blue, 256 px. `slide
extract` encodes them in each precision; a logistic regression (standardised, C = 0.001, nothing tuned)
on the training split's features gives the test split's scores. Intervals and those of the paired
differences are DeLong's.
"""

import argparse
import pathlib
import subprocess

import h5py
import numpy as np
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

PRECISIONS = ("f32", "bf16", "int8")
TILE = 256


def write_slide(volumes, path):
    """The tiles in rows of a square picture; returns their corners."""
    side = int(np.ceil(np.sqrt(len(volumes))))
    picture = np.zeros((side * TILE, side * TILE, 3), np.uint8)
    corners = []
    for i, volume in enumerate(volumes):
        sums = [volume.sum(axis, dtype=np.float32) for axis in range(3)]
        rgb = np.stack([(s / s.max() * 255).astype(np.uint8) for s in sums], axis=-1)
        y, x = divmod(i, side)
        corners.append((x * TILE, y * TILE))
        tile = Image.fromarray(rgb).resize((TILE, TILE), Image.BICUBIC)
        picture[y * TILE : (y + 1) * TILE, x * TILE : (x + 1) * TILE] = np.asarray(tile)
    Image.fromarray(picture).save(path, compress_level=1)
    return np.array(corners, np.int64), side * TILE


def extract(arguments, slide, corners, side, precision):
    folder = arguments.folder / precision
    (folder / "patches").mkdir(parents=True, exist_ok=True)
    with h5py.File(folder / "patches" / f"{slide.stem}.h5", "w") as file:
        coords = file.create_dataset("coords", data=corners)
        coords.attrs["patch_level"] = 0
        coords.attrs["patch_size"] = TILE
        coords.attrs["downsample"] = np.array([1.0, 1.0])
        coords.attrs["level_dim"] = coords.attrs["downsampled_level_dim"] = np.array([side, side])
        coords.attrs["name"] = slide.stem
        coords.attrs["save_path"] = ""
    command = [arguments.med3d, "slide", "extract", slide, "--output", folder, "--quiet"]
    command += ["--encoder", arguments.encoder, "--precision", precision]
    if arguments.weights:
        command += ["--weights", arguments.weights]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return torch.load(folder / "pt_files" / f"{slide.stem}.pt").numpy().astype(np.float64)


def placements(scores, labels):
    """For each positive the share of negatives below it, and for each negative that of positives above."""
    positive, negative = scores[labels == 1][:, None], scores[labels == 0][None]
    above = (positive > negative) + 0.5 * (positive == negative)
    return above.mean(1), above.mean(0)


def interval(positive, negative):
    mean = positive.mean()
    error = np.sqrt(positive.var(ddof=1) / len(positive) + negative.var(ddof=1) / len(negative))
    return f"{mean:.4f} ({mean - 1.96 * error:.4f} to {mean + 1.96 * error:.4f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("npz", type=pathlib.Path)
    parser.add_argument("med3d")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--encoder", default="resnet50-untrained")
    parser.add_argument("--weights")
    arguments = parser.parse_args()

    data = np.load(arguments.npz)
    labels = np.concatenate([data["train_labels"], data["test_labels"]]).ravel()
    train = len(data["train_labels"])
    arguments.folder.mkdir(parents=True, exist_ok=True)
    slide = arguments.folder / "adrenal.png"
    volumes = np.concatenate([data["train_images"], data["test_images"]])
    corners, side = write_slide(volumes, slide)
    exact = None
    for precision in PRECISIONS:
        features = extract(arguments, slide, corners, side, precision)
        scaler = StandardScaler().fit(features[:train])
        model = LogisticRegression(C=0.001, max_iter=5000)
        model.fit(scaler.transform(features[:train]), labels[:train])
        found = placements(model.decision_function(scaler.transform(features[train:])), labels[train:])
        line = f"{precision}: AUROC {interval(*found)}"
        if exact is None:
            exact = found
        else:
            line += f", less f32 {interval(found[0] - exact[0], found[1] - exact[1])}"
        print(line)


if __name__ == "__main__":
    main()
