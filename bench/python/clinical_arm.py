"""The clinical arm as one would write it in Python: imbalanced-learn's SMOTE, then a PyTorch MLP.

python3 clinical_arm.py TABLE [--fits N] [--batches loader|slices]

TABLE is an npy file (n, p + 1), the label in its last column. With `loader` batches come from a
DataLoader, as in most code one meets; with `slices` the shuffled tensors are cut, which costs less.
"""
import argparse

import torch
from imblearn.over_sampling import SMOTE
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from measure import Stopwatch, read_labelled, say

EPOCHS, BATCH = 50, 32


def build(inputs):
    layers, width = [], inputs
    for out, dropout in ((256, 0.3), (128, 0.3), (64, 0.0)):
        layers += [nn.Linear(width, out), nn.BatchNorm1d(out), nn.ReLU()]
        if dropout > 0:
            layers.append(nn.Dropout(dropout))
        width = out
    return nn.Sequential(*layers, nn.Linear(width, 2))


def batches_of(x, y, kind):
    if kind == "loader":
        loader = DataLoader(TensorDataset(x, y), batch_size=BATCH, shuffle=True)
        return lambda: loader

    def slices():
        order = torch.randperm(len(x))
        return ((x[part], y[part]) for part in order.split(BATCH))

    return slices


def fit(x, y, kind, seed):
    torch.manual_seed(seed)
    x, y = SMOTE(random_state=seed).fit_resample(x, y)
    x, y = torch.as_tensor(x, dtype=torch.float32), torch.as_tensor(y)
    net = build(x.shape[1])
    adam = torch.optim.Adam(net.parameters(), lr=1e-3, weight_decay=1e-4)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(adam, factor=0.5, patience=5)
    loss_of = nn.CrossEntropyLoss()
    batches = batches_of(x, y, kind)
    steps = 0
    net.train()
    for _ in range(EPOCHS):
        total = 0.0
        for x_batch, y_batch in batches():
            if len(x_batch) < 2:  # batch norm needs two rows
                continue
            adam.zero_grad()
            loss = loss_of(net(x_batch), y_batch)
            loss.backward()
            adam.step()
            total += loss.item() * len(x_batch)
            steps += 1
        plateau.step(total / len(x))
    net.eval()
    return net, steps


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("table")
    parser.add_argument("--fits", type=int, default=1)
    parser.add_argument("--batches", choices=("loader", "slices"), default="loader")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    x, y = read_labelled(arguments.table)
    held_out = torch.arange(len(x)).numpy() % 5 == 0

    watch = Stopwatch()
    auroc, steps = 0.0, 0
    for seed in range(arguments.fits):
        net, done = fit(x[~held_out], y[~held_out], arguments.batches, seed)
        with torch.no_grad():
            logits = net(torch.as_tensor(x[held_out], dtype=torch.float32))
        auroc += roc_auc_score(y[held_out], torch.softmax(logits, 1)[:, 1]) / arguments.fits
        steps += done
    watch.stop()
    say(f"clinical arm in Python, {x.shape[0]} x {x.shape[1]}: {watch.cpu_s / arguments.fits:.2f} "
        f"CPU s a fit ({1e3 * watch.cpu_s / steps:.3f} ms a step), AUROC {auroc:.3f}", watch,
        program="clinical_arm", rows=x.shape[0], columns=x.shape[1], fits=arguments.fits,
        steps=steps, auroc=auroc)


main()
