"""CLAM_SB trained in f32 and in bf16 on the same bags and splits.

    clam_precision.py MED3D FOLDER [--repeats 10]

300 slides of 100 patches x 128 normal numbers; in every second slide ten patches lie 2.5 standard
deviations off along one random direction. Each repeat draws a split of 150, 50 and 100 slides and its
own weights. Prints test AUROC, validation AUROC and the losses of the last epoch, and their paired
differences.
"""

import argparse
import csv
import pathlib
import subprocess

import numpy as np

SLIDES, PATCHES, WIDTH, FAR, SHIFT = 300, 100, 128, 10, 2.5


def write_inputs(folder, repeats):
    random = np.random.RandomState(7)
    direction = random.randn(WIDTH)
    direction = SHIFT * (direction / np.linalg.norm(direction)).astype(np.float32)
    for name in ("features", "splits"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    with open(folder / "dataset.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["case_id", "slide_id", "label"])
        for i in range(SLIDES):
            bag = random.randn(PATCHES, WIDTH).astype(np.float32)
            if i % 2 == 1:
                bag[:FAR] += direction
            np.save(folder / "features" / f"s{i:03d}.npy", random.permutation(bag))
            rows.writerow([f"p{i:03d}", f"s{i:03d}", i % 2])
    for k in range(repeats):
        ids = [f"s{i:03d}" for i in random.permutation(SLIDES)]
        sides = ids[:150], ids[150:200], ids[200:]
        with open(folder / "splits" / f"splits_{k}.csv", "w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["", "train", "val", "test"])
            for i in range(150):
                rows.writerow([i] + [side[i] if i < len(side) else "" for side in sides])


def train(arguments, precision):
    out = arguments.folder / precision
    command = [arguments.med3d, "slide", "train", arguments.folder / "features", "--quiet"]
    command += ["--dataset", arguments.folder / "dataset.csv", "--output", out]
    command += ["--splits", arguments.folder / "splits", "--max-epochs", "20", "--overwrite"]
    command += ["--precision", precision, "--threads", "1"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return read(out)


def read(out):
    with open(out / "summary.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    result = {name: [float(row[name]) for row in rows] for name in ("test_auc", "val_auc")}
    for k in range(len(rows)):
        with open(out / f"curve_{k}.csv", newline="") as file:
            last = list(csv.DictReader(file))[-1]
        for name, value in last.items():
            if "loss" in name and value:
                result.setdefault(name, []).append(float(value))
    return {name: np.array(values) for name, values in result.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("med3d")
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--repeats", type=int, default=10)
    arguments = parser.parse_args()
    write_inputs(arguments.folder, arguments.repeats)
    f32, bf16 = train(arguments, "f32"), train(arguments, "bf16")
    for name, exact in f32.items():
        change = bf16[name] - exact
        error = change.std(ddof=1) / np.sqrt(len(change))
        print(
            f"{name}: f32 {exact.mean():.4f} (sd {exact.std(ddof=1):.4f}), "
            f"bf16 {bf16[name].mean():.4f}, less f32 {change.mean():+.4f} "
            f"(standard error {error:.4f}, {change.min():+.4f} to {change.max():+.4f})"
        )


if __name__ == "__main__":
    main()
