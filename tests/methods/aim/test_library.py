"""AIM on a model that is not ours: the documented example, blocks of other kinds, state, refusals."""

import runpy

import pytest
import torch
from torch import nn

from aim_toys import CLASSES, data
from equimodal import AIM
from equimodal.errors import UserError

INPUTS, LABELS = data(("audio", "third"), 48)
BATCHES = [({name: x[i : i + 12] for name, x in INPUTS.items()}, LABELS[i : i + 12]) for i in range(0, 48, 12)]
QUICK = {"dap": {"steps": 5, "required_accuracy": 0.0}, "pdm": {"steps": 2, "latent": 8, "every": 2}}


class Own:
    """A picture encoder and transformer layers, joined by a head that is a plain function."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.audio = [nn.Sequential(nn.Conv2d(c, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU()) for c in (1, 4)]
        layers = [nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True) for _ in range(3)]
        self.third = [nn.Sequential(nn.Linear(4, 4), layers[0]), *layers[1:]]
        self.linear = nn.Linear(8, CLASSES)
        self.modules = nn.ModuleList([*self.audio, *self.third, self.linear])

    def head(self, features: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.linear(torch.cat([features["audio"], features["third"]], dim=1))

    def aim(self, **settings) -> AIM:
        pool = {"audio": lambda x: x.mean((2, 3)), "third": lambda x: x.mean(1)}
        return AIM(
            {"audio": self.audio, "third": self.third},
            self.head,
            CLASSES,
            pool=pool,
            affine_axis={"audio": 1, "third": 2},
            **{**QUICK, **settings},
        )

    def optimizer(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.modules.parameters(), lr=0.01)


def step(own, aim, optimizer, batch):
    terms = aim.loss(*batch)
    loss = nn.functional.cross_entropy(terms.logits, batch[1]) + terms.loss
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    aim.step()
    return loss.item()


def test_the_documented_example_runs(root, capsys):
    found = runpy.run_path(str(root / "docs" / "examples" / "own_model.py"))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 6 and "alpha" in lines[-1]
    assert torch.isfinite(found["loss"])


def test_the_example_is_about_forty_lines(root):
    code = [line for line in (root / "docs" / "examples" / "own_model.py").read_text().splitlines() if line.strip()]
    assert len(code) <= 45


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"scores": "label"},
        {"update": "alternate"},
        {"pam": False},
        {"preset": "literal"},
        {"lambda_mod": 0.0, "update": "alternate"},
    ],
)
def test_blocks_of_any_kind_are_trained(settings):
    own = Own()
    aim, optimizer = own.aim(**settings), own.optimizer()
    log = aim.fit(BATCHES)
    assert ("blocks" in log) == settings.get("pam", True)
    weights = [p for p in own.modules.parameters() if p.dim() > 1]
    before = [p.detach().clone() for p in weights]
    losses = [step(own, aim, optimizer, batch) for batch in BATCHES]
    aim.end_epoch()
    assert all(torch.isfinite(torch.tensor(losses)))
    assert all(not torch.equal(a, b) for a, b in zip(before, weights, strict=True))


def test_logits_are_those_of_the_plain_model():
    own = Own()
    own.modules.eval()
    aim = own.aim()
    aim.fit(BATCHES)
    x, y = BATCHES[0]
    features = {
        "audio": nn.Sequential(*own.audio)(x["audio"]).mean((2, 3)),
        "third": nn.Sequential(*own.third)(x["third"]).mean(1),
    }
    torch.testing.assert_close(aim.loss(x, y).logits, own.head(features))


def test_parameters_and_state_are_aims_own_and_resume_exactly():
    own = Own()
    aim, optimizer = own.aim(), own.optimizer()
    aim.fit(BATCHES)
    assert not {id(p) for p in aim.parameters()} & {id(p) for p in own.modules.parameters()}
    step(own, aim, optimizer, BATCHES[0])
    aim.end_epoch()
    twin = Own()
    twin.modules.load_state_dict(own.modules.state_dict())
    resumed = twin.aim()
    resumed.load_state_dict(aim.state_dict())
    other = twin.optimizer()
    for batch in BATCHES[1:]:
        assert step(own, aim, optimizer, batch) == step(twin, resumed, other, batch)
    assert all(torch.equal(a, b) for a, b in zip(own.modules.parameters(), twin.modules.parameters(), strict=True))


def test_a_readout_of_ones_own_is_asked():
    own, asked = Own(), []

    def readout(features):
        asked.append(set(features))
        return {name: z[:, :CLASSES] for name, z in features.items()}

    own.aim(readout=readout).fit(BATCHES)
    assert asked[0] == {"audio", "third"}


def test_refusals_say_what_to_do():
    own = Own()
    with pytest.raises(UserError, match=r"unknown key AIM\.lamda_mod; did you mean 'lambda_mod'"):
        own.aim(lamda_mod=3.0)
    with pytest.raises(UserError, match="start_epoch is decided by your own loop"):
        own.aim(start_epoch=3)
    with pytest.raises(UserError, match="no preset 'paper'; valid: literal"):
        own.aim(preset="paper")
    with pytest.raises(UserError, match="call fit"):
        own.aim().loss(*BATCHES[0])
    with pytest.raises(UserError, match="samples of all 3 classes"):
        own.aim().fit([(x, torch.zeros_like(y)) for x, y in BATCHES])
    unclear = AIM(
        {"third": own.third}, lambda f: own.linear(torch.cat([f["third"]] * 2, 1)), CLASSES, affine_axis=2, **QUICK
    )
    with pytest.raises(UserError, match="pass pool"):
        unclear.fit([({"third": x["third"]}, y) for x, y in BATCHES])


def test_importing_the_package_does_not_import_torch(root):
    import subprocess
    import sys

    subprocess.run([sys.executable, "-c", "import sys, equimodal; assert 'torch' not in sys.modules"], check=True)
