"""Five Adam steps of a small net in PyTorch eager; network_test.cc pins the numbers printed here.

Linear-BatchNorm1d-ReLU twice, Linear; weighted cross-entropy; torch.optim.Adam with weight decay.
Weights and data are sines, so that both languages make the same ones. Written for torch 1.13.
"""
import math

import torch

torch.set_num_threads(1)


def sines(shape, phase):
    n = math.prod(shape)
    values = [math.sin(0.7 * i + phase) for i in range(n)]
    return torch.tensor(values, dtype=torch.float64).to(torch.float32).reshape(shape)


net = torch.nn.Sequential(
    torch.nn.Linear(3, 5), torch.nn.BatchNorm1d(5), torch.nn.ReLU(),
    torch.nn.Linear(5, 4), torch.nn.BatchNorm1d(4), torch.nn.ReLU(),
    torch.nn.Linear(4, 2))
with torch.no_grad():
    for number, parameter in enumerate(net.parameters()):
        is_norm_weight = number in (2, 6)
        parameter.copy_(sines(parameter.shape, number) * 0.5 + (1.0 if is_norm_weight else 0.0))
x = sines((6, 3), 0.3) * 2
y = torch.tensor([0, 1, 1, 0, 1, 1])
weight = torch.tensor([6 / (2 * 2), 6 / (2 * 4)])
adam = torch.optim.Adam(net.parameters(), lr=0.01, weight_decay=0.01)
for step in range(5):
    net.train()
    adam.zero_grad()
    loss = torch.nn.functional.cross_entropy(net(x), y, weight=weight)
    loss.backward()
    adam.step()
    print(f"loss {step + 1}: {loss.item():.7f}")
net.eval()
print("logits after:", ", ".join(f"{v:.6f}F" for v in net(x).flatten().tolist()))
print("fc1.weight[0]:", ", ".join(f"{v:.6f}F" for v in net[0].weight[0].tolist()))
print("bn2.running_mean:", ", ".join(f"{v:.6f}F" for v in net[4].running_mean.tolist()))
print("bn2.running_var:", ", ".join(f"{v:.6f}F" for v in net[4].running_var.tolist()))
