#!/usr/bin/env python3
"""CLAM_SB in PyTorch, to stand beside bench/clam: the same net, losses and optimiser.

    clam_torch.py write=FOLDER [bags=300] [patches=1000] [width=1024]
    clam_torch.py files=FOLDER [epochs=3] [threads=2] [instance_loss=ce|svm]
    clam_torch.py [bags=40] [patches=1000] [width=1024] [repeats=3] [threads=2] [instance_loss=ce|svm]

write   draws bags and stores each as a .pt file, slide_000.pt and so on.
files   trains as CLAM's main.py does on these files, on a CPU: of ten slides eight train, one validates and one
        tests; every step loads its bag with torch.load in the process that trains (CLAM gives its loaders workers
        only beside a GPU) and copies it in the collation; losses, errors and accuracies are taken to Python at
        every step; after each epoch the validation slides are judged, instance clusters included, with their
        AUROC; at the end validation and test slides once more. Imports are left out.
neither steps on bags in memory: no reading, no validation, no bookkeeping; the fastest of the repeats counts.

Gated attention "small" (1024, 512, 256), dropout 0.25, cross-entropy of the bag, 8 + 8 instances, weight 0.7, Adam
1e-4 with L2 1e-5, one bag a step. Prints one JSON document.
"""

import math
import os
import sys

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, RandomSampler, SequentialSampler

from measure import Stopwatch, say

CLASSES = 2


class GatedAttention(nn.Module):
    def __init__(self, width, hidden, dropout):
        super().__init__()
        self.a = nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), nn.Dropout(dropout))
        self.b = nn.Sequential(nn.Linear(width, hidden), nn.Sigmoid(), nn.Dropout(dropout))
        self.c = nn.Linear(hidden, 1)

    def forward(self, h):
        return self.c(self.a(h).mul(self.b(h)))


class Net(nn.Module):
    def __init__(self, width, instance_loss, dropout=0.25, k=8):
        super().__init__()
        self.first = nn.Sequential(nn.Linear(width, 512), nn.ReLU(), nn.Dropout(dropout))
        self.attention = GatedAttention(512, 256, dropout)
        self.bag = nn.Linear(512, CLASSES)
        self.instance = nn.ModuleList(nn.Linear(512, 2) for _ in range(CLASSES))
        self.instance_loss = instance_loss
        self.k = k

    def cluster(self, attention, h, classifier):
        top = torch.topk(attention, self.k, dim=1)[1][-1]
        bottom = torch.topk(-attention, self.k, dim=1)[1][-1]
        chosen = torch.cat([torch.index_select(h, 0, top), torch.index_select(h, 0, bottom)])
        target = torch.cat([torch.full((self.k,), 1).long(), torch.full((self.k,), 0).long()])
        logits = classifier(chosen)
        return self.instance_loss(logits, target), torch.topk(logits, 1, dim=1)[1].squeeze(1), target

    def forward(self, bag, label):
        h = self.first(bag)
        attention = functional.softmax(torch.transpose(self.attention(h), 1, 0), dim=1)
        own = functional.one_hot(label, num_classes=CLASSES).squeeze()
        for i, classifier in enumerate(self.instance):
            if own[i].item() == 1:
                loss, predicted, target = self.cluster(attention, h, classifier)
                predicted, target = predicted.cpu().numpy(), target.cpu().numpy()
        logits = self.bag(torch.mm(attention, h))
        return (logits, functional.softmax(logits, dim=1), torch.topk(logits, 1, dim=1)[1], loss, predicted,
                target)


def smooth_svm(x, y):
    """Smooth top-1 SVM, alpha and tau 1; rows whose best two differ by more than log 1000 are hard."""
    best = torch.topk(x, 2, dim=1)[0]
    hard = best[:, 0] - best[:, 1] >= math.log(1000.0)
    own = x.gather(1, y[:, None])
    margin = x + 1.0 - functional.one_hot(y, x.shape[1]) - own
    loss = torch.where(hard, margin.max(1)[0], torch.logsumexp(margin, 1))
    return loss.mean()


class Slides(Dataset):
    def __init__(self, files, labels):
        self.files, self.labels = files, labels

    def __len__(self):
        return len(self.files)

    def __getitem__(self, i):
        return torch.load(self.files[i]), self.labels[i]


def collate(batch):
    return torch.cat([item[0] for item in batch], dim=0), torch.LongTensor([item[1] for item in batch])


class Accuracy:
    """Right and all, class by class."""

    def __init__(self):
        self.counts = [[0, 0] for _ in range(CLASSES)]

    def log(self, predicted, label):
        predicted, label = int(predicted), int(label)
        self.counts[label][0] += predicted == label
        self.counts[label][1] += 1

    def log_batch(self, predicted, label):
        for c in np.unique(label):
            mask = label == c
            self.counts[c][0] += int((predicted[mask] == c).sum())
            self.counts[c][1] += int(mask.sum())


def error_of(predicted, label):
    return 1.0 - predicted.float().eq(label.float()).float().mean().item()


def train_epoch(net, loader, optimiser, bag_loss):
    net.train()
    bags, instances = Accuracy(), Accuracy()
    sums = [0.0, 0.0, 0.0]
    for bag, label in loader:
        logits, _, predicted, instance_loss, instance_predicted, instance_label = net(bag, label)
        bags.log(predicted, label)
        loss = bag_loss(logits, label)
        sums[0] += loss.item()
        sums[1] += instance_loss.item()
        total = 0.7 * loss + 0.3 * instance_loss
        instances.log_batch(instance_predicted, instance_label)
        sums[2] += error_of(predicted, label)
        total.backward()
        optimiser.step()
        optimiser.zero_grad()
    return [value / len(loader) for value in sums]


def judge(net, loader, bag_loss):
    net.eval()
    bags, instances = Accuracy(), Accuracy()
    loss_sum, shares, labels = 0.0, [], []
    with torch.no_grad():
        for bag, label in loader:
            logits, share, predicted, instance_loss, instance_predicted, instance_label = net(bag, label)
            bags.log(predicted, label)
            loss_sum += bag_loss(logits, label).item()
            instance_loss.item()
            instances.log_batch(instance_predicted, instance_label)
            error_of(predicted, label)
            shares.append(share.cpu().numpy()[0])
            labels.append(label.item())
    return loss_sum / len(loader), roc_auc_score(labels, np.array(shares)[:, 1])


def from_files(settings, losses):
    folder = settings["files"]
    names = sorted(name for name in os.listdir(folder) if name.endswith(".pt"))
    files = [os.path.join(folder, name) for name in names]
    labels = [i // 10 % 2 for i in range(len(files))]

    def loader(wanted, training):
        rows = [i for i in range(len(files)) if i % 10 in wanted]
        data = Slides([files[i] for i in rows], [labels[i] for i in rows])
        sampler = RandomSampler(data) if training else SequentialSampler(data)
        return DataLoader(data, batch_size=1, sampler=sampler, collate_fn=collate)

    training, validation, test = loader(range(8), True), loader([8], False), loader([9], False)
    watch = Stopwatch()
    net = Net(torch.load(files[0]).shape[1], losses)
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-4, weight_decay=1e-5)
    bag_loss = nn.CrossEntropyLoss()
    for epoch in range(settings["epochs"]):
        loss, _, _ = train_epoch(net, training, optimiser, bag_loss)
        validation_loss, _ = judge(net, validation, bag_loss)
        print(f"epoch {epoch}: loss {loss:.4f}, validation {validation_loss:.4f}", file=sys.stderr)
    for final in (validation, test):
        judge(net, final, bag_loss)
    watch.stop()
    rate = len(training) * settings["epochs"] / watch.wall_s
    say(f"clam_sb in PyTorch: {rate:.1f} bags/s from files", watch, bags=len(files), epochs=settings["epochs"],
        threads=settings["threads"], instance_loss=settings["instance_loss"], bags_per_s=rate)


def in_memory(settings, losses):
    bags = [torch.randn(settings["patches"], settings["width"]) for _ in range(settings["bags"])]
    labels = [torch.tensor([i % 2]) for i in range(settings["bags"])]
    net = Net(settings["width"], losses)
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-4, weight_decay=1e-5)
    bag_loss = nn.CrossEntropyLoss()
    best = None
    for _ in range(settings["repeats"]):
        watch = Stopwatch()
        for bag, label in zip(bags, labels):
            logits, _, _, instance_loss, _, _ = net(bag, label)
            loss = bag_loss(logits, label)
            (0.7 * loss + 0.3 * instance_loss).backward()
            optimiser.step()
            optimiser.zero_grad()
        watch.stop()
        if best is None or watch.wall_s < best.wall_s:
            best = watch
    rate = len(bags) / best.wall_s
    say(f"clam_sb in PyTorch: {rate:.1f} bags/s from memory", best, bags=len(bags), threads=settings["threads"],
        instance_loss=settings["instance_loss"], bags_per_s=rate)


def main():
    settings = {"threads": 2, "bags": 0, "patches": 1000, "width": 1024, "repeats": 3, "epochs": 3,
                "instance_loss": "ce", "files": "", "write": ""}
    for word in sys.argv[1:]:
        name, _, value = word.partition("=")
        if name not in settings:
            sys.exit(f"argument '{word}', expected name=value with one of: {', '.join(settings)}")
        settings[name] = type(settings[name])(value)
    torch.set_num_threads(settings["threads"])
    torch.manual_seed(1)
    losses = {"ce": nn.CrossEntropyLoss(), "svm": smooth_svm}[settings["instance_loss"]]
    if settings["write"]:
        os.makedirs(settings["write"], exist_ok=True)
        for i in range(settings["bags"] or 300):
            torch.save(torch.randn(settings["patches"], settings["width"]),
                       os.path.join(settings["write"], f"slide_{i:03}.pt"))
    elif settings["files"]:
        from_files(settings, losses)
    else:
        settings["bags"] = settings["bags"] or 40
        in_memory(settings, losses)


if __name__ == "__main__":
    main()
