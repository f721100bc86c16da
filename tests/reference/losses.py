"""Losses of torch 1.13; loss_test.cc pins the numbers printed here."""
import torch

z2 = torch.tensor([[0.5, -1.0], [2.0, 0.25], [-0.75, 1.5]], dtype=torch.float64, requires_grad=True)
y = torch.tensor([0, 1, 1])
weight = torch.tensor([1.5, 0.75], dtype=torch.float64)
loss = torch.nn.functional.cross_entropy(z2, y, weight=weight, label_smoothing=0.1)
loss.backward()
print(f"cross-entropy {loss.item():.9f}", [round(v, 9) for v in z2.grad.flatten().tolist()])

z1 = torch.tensor([0.5, -2.0, 1.25], dtype=torch.float64, requires_grad=True)
t = torch.tensor([0.0, 1.0, 1.0], dtype=torch.float64) * 0.9 + 0.05
loss = torch.nn.functional.binary_cross_entropy_with_logits(
    z1, t, pos_weight=torch.tensor(0.5, dtype=torch.float64))
loss.backward()
print(f"bce {loss.item():.9f}", [round(v, 9) for v in z1.grad.tolist()])

# Learning rates of the schedulers: 10 epochs of cosine, plateau on a loss that stops falling.
p = torch.nn.Parameter(torch.zeros(1))
adam = torch.optim.Adam([p], lr=0.1)
cosine = torch.optim.lr_scheduler.CosineAnnealingLR(adam, T_max=10)
rates = []
for _ in range(10):
    rates.append(adam.param_groups[0]["lr"])
    adam.step()
    cosine.step()
print("cosine", [round(r, 9) for r in rates])
