"""A two-stream model of one's own, trained for a moment on made-up data, and its diagnosis (docs/diagnosis.md)."""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import equimodal


class TwoStream(nn.Module):
    """Encoders of sound and picture, and a linear layer on both features."""

    def __init__(self) -> None:
        super().__init__()
        self.sound = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU())
        self.picture = nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU())
        self.head = nn.Linear(32, 4)

    def forward(self, sound: Tensor, picture: Tensor) -> Tensor:
        logits: Tensor = self.head(torch.cat([self.sound(sound), self.picture(picture)], 1))
        return logits


torch.manual_seed(0)
labels = torch.arange(1600) % 4
sound = torch.randn(1600, 20) + 3.0 * torch.eye(4, 20)[labels]  # easy to hear
picture = torch.randn(1600, 30) + 1.2 * torch.eye(4, 30)[labels]  # hard to see

model = TwoStream()
for _ in range(150):
    loss = cross_entropy(model(sound[:800], picture[:800]), labels[:800])
    for weight, gradient in zip(model.parameters(), torch.autograd.grad(loss, model.parameters()), strict=True):
        weight.data -= 0.3 * gradient

held_out = torch.utils.data.TensorDataset(sound[800:], picture[800:], labels[800:])
report = equimodal.diagnose(
    model,
    torch.utils.data.DataLoader(held_out, batch_size=100),
    modalities=["sound", "picture"],  # the batch's inputs, in order; the last of it are the labels
    encoders={"sound": "sound", "picture": "picture"},  # modality -> submodule
    layers={"sound": ["sound.1", "sound.3"], "picture": ["picture.1", "picture.3"]},
    decision="head",
)
print(report)
