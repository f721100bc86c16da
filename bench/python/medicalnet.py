"""MedicalNet's ResNet-18 (shortcut A, dilated) in PyTorch's eager mode: one volume, as its users run it.

    python3 medicalnet.py [THREADS [ROUNDS [DEPTH SIDE]]]

Beside it: med3d bench encoders --encoder resnet18-3d-untrained --threads THREADS --precision f32
Processor seconds with one thread, wall seconds with more; the best of ROUNDS.
"""
import sys

import torch
import torch.nn.functional as F
from torch import nn

from measure import Stopwatch, say


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride, dilation):
        super().__init__()
        self.stride, self.grown = stride, outputs - inputs
        self.conv1 = nn.Conv3d(inputs, outputs, 3, stride, dilation, dilation, bias=False)
        self.bn1 = nn.BatchNorm3d(outputs)
        self.conv2 = nn.Conv3d(outputs, outputs, 3, 1, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm3d(outputs)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        if self.grown:
            x = F.avg_pool3d(x, 1, self.stride)
            x = torch.cat([x, x.new_zeros(x.size(0), self.grown, *x.shape[2:])], 1)
        y += x
        return self.relu(y)


def resnet18():
    layers = [nn.Conv3d(1, 64, 7, 2, 3, bias=False), nn.BatchNorm3d(64), nn.ReLU(inplace=True),
              nn.MaxPool3d(3, 2, 1)]
    channels = 64
    for width, stride, dilation in ((64, 1, 1), (128, 2, 1), (256, 1, 2), (512, 1, 4)):
        layers += [Block(channels, width, stride, dilation), Block(width, width, 1, dilation)]
        channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool3d(1)).eval()


def main():
    numbers = [int(word) for word in sys.argv[1:]] + [None] * 4
    threads, rounds, depth, side = (n or d for n, d in zip(numbers, (1, 3, 56, 448)))
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    net = resnet18()
    volume = torch.randn(1, 1, depth, side, side)
    best = None
    with torch.no_grad():
        for _ in range(rounds):
            watch = Stopwatch()
            net(volume)
            watch.stop()
            spent = watch.cpu_s if threads == 1 else watch.wall_s
            best = spent if best is None else min(best, spent)
    say(f"{best:.2f} s a volume", watch, seconds=best, threads=threads)


if __name__ == "__main__":
    main()
