"""AIM on a model of one's own: a convolutional encoder of a signal, transformer layers over tokens, a small head."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from equimodal import AIM

torch.manual_seed(0)
K = 4
signal_blocks = [nn.Sequential(nn.Conv1d(c, 16, 5, 2, 2), nn.BatchNorm1d(16), nn.ReLU()) for c in (2, 16, 16)]
layers = [nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True) for _ in range(3)]
# What comes before the first layer belongs to block 1.
token_blocks = [nn.Sequential(nn.Linear(6, 16), layers[0]), *layers[1:]]
classifier = nn.Linear(32, K)
model = nn.ModuleList([*signal_blocks, *token_blocks, classifier])
optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)


def head(features: dict[str, torch.Tensor]) -> torch.Tensor:
    return classifier(torch.cat([features["signal"], features["tokens"]], dim=1))


labels = torch.randint(K, (256,))
inputs = {"signal": torch.randn(K, 2, 40)[labels] + torch.randn(256, 2, 40)}
inputs["tokens"] = torch.randn(K, 7, 6)[labels] + 2 * torch.randn(256, 7, 6)
loader = [({name: x[i : i + 32] for name, x in inputs.items()}, labels[i : i + 32]) for i in range(0, 256, 32)]

encoders = {"signal": signal_blocks, "tokens": token_blocks}
pool = {"signal": lambda x: x.mean(2), "tokens": lambda x: x.mean(1)}
aim = AIM(encoders, head, K, pool=pool, affine_axis={"signal": 1, "tokens": 2}, pdm={"steps": 40})

for epoch in range(6):
    if epoch == 3:  # the warm-up is over
        aim.fit(loader)
    for x, y in loader:
        if epoch < 3:
            pooled = {name: pool[name](nn.Sequential(*blocks)(x[name])) for name, blocks in encoders.items()}
            loss = cross_entropy(head(pooled), y)
        else:
            terms = aim.loss(x, y)  # L_mod and the prototypes' own terms; logits of the same pass
            loss = cross_entropy(terms.logits, y) + terms.loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if epoch >= 3:
            aim.step()  # the prototypes
    if epoch >= 3:
        aim.end_epoch()
    alpha = f", alpha at the last depth {terms.logs['depth3/alpha'].item():.2f}" if epoch >= 3 else ""
    print(f"epoch {epoch}: loss {loss.item():.3f}{alpha}")
