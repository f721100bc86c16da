"""The training step of CLAM_SB in PyTorch, to stand beside bench/clam: the same net, losses and optimiser.

    python3 bench/clam_torch.py [threads=2] [bags=40] [patches=1000] [width=1024] [repeats=3]

Gated attention "small" (1024, 512, 256), dropout 0.25, cross-entropy of the bag, smooth top-1 SVM of
8 + 8 instances, weight 0.7, Adam 1e-4 with L2 1e-5, one bag a step. The bags lie in memory: reading
files, which a training from a folder does too, is left out in favour of this side. Prints one JSON
document; the fastest of the repeats counts.
"""
import json
import math
import sys
import time

import torch
from torch import nn
from torch.nn import functional


class Attention(nn.Module):
    def __init__(self, width, hidden, dropout):
        super().__init__()
        self.a = nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), nn.Dropout(dropout))
        self.b = nn.Sequential(nn.Linear(width, hidden), nn.Sigmoid(), nn.Dropout(dropout))
        self.c = nn.Linear(hidden, 1)

    def forward(self, h):
        return self.c(self.a(h) * self.b(h))


class Net(nn.Module):
    def __init__(self, width, classes=2, dropout=0.25, k=8):
        super().__init__()
        self.first = nn.Sequential(nn.Linear(width, 512), nn.ReLU(), nn.Dropout(dropout))
        self.attention = Attention(512, 256, dropout)
        self.bag = nn.Linear(512, classes)
        self.instance = nn.ModuleList(nn.Linear(512, 2) for _ in range(classes))
        self.k = k

    def forward(self, bag, label):
        h = self.first(bag)
        weight = functional.softmax(self.attention(h).transpose(0, 1), dim=1)
        top = torch.topk(weight, self.k)[1][-1]
        bottom = torch.topk(-weight, self.k)[1][-1]
        chosen = torch.cat([torch.index_select(h, 0, top), torch.index_select(h, 0, bottom)])
        target = torch.cat([torch.ones(self.k), torch.zeros(self.k)]).long()
        return self.bag(weight @ h), smooth_svm(self.instance[label.item()](chosen), target)


def smooth_svm(x, y):
    """Smooth top-1 SVM, alpha and tau 1; rows whose best two differ by more than log 1000 are hard."""
    best = torch.topk(x, 2, dim=1)[0]
    hard = best[:, 0] - best[:, 1] >= math.log(1000.0)
    own = x.gather(1, y[:, None])
    margin = x + 1.0 - functional.one_hot(y, x.shape[1]) - own
    loss = torch.where(hard, margin.max(1)[0], torch.logsumexp(margin, 1))
    return loss.mean()


def main():
    settings = {"threads": 2, "bags": 40, "patches": 1000, "width": 1024, "repeats": 3}
    for word in sys.argv[1:]:
        name, _, value = word.partition("=")
        if name not in settings:
            sys.exit(f"argument '{word}', expected name=value with one of: {', '.join(settings)}")
        settings[name] = int(value)
    torch.set_num_threads(settings["threads"])
    torch.manual_seed(1)
    bags = [torch.randn(settings["patches"], settings["width"]) for _ in range(settings["bags"])]
    labels = [torch.tensor([i % 2]) for i in range(settings["bags"])]
    net = Net(settings["width"])
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-4, weight_decay=1e-5)
    bag_loss = nn.CrossEntropyLoss()
    best = best_cpu = math.inf
    for _ in range(settings["repeats"]):
        start, start_cpu = time.monotonic(), time.process_time()
        for bag, label in zip(bags, labels):
            logits, instance_loss = net(bag, label)
            loss = bag_loss(logits, label)
            total = 0.7 * loss + 0.3 * instance_loss
            loss.item()
            instance_loss.item()
            total.backward()
            optimiser.step()
            optimiser.zero_grad()
        best = min(best, time.monotonic() - start)
        best_cpu = min(best_cpu, time.process_time() - start_cpu)
    print(json.dumps({**settings, "bags_per_s": settings["bags"] / best,
                      "bags_per_cpu_s": settings["bags"] / best_cpu,
                      "torch": torch.__version__}))


if __name__ == "__main__":
    main()
