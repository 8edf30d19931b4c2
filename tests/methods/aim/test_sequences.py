"""AIM on sequences: three transformers (M = 3, D = 3), padding that changes nothing, prototypes with masks,
encoders of unequal depth.
"""

import copy
import math

import pytest
import torch
from torch.utils import _pytree as pytree

from aim_toys import FAST, VARIANTS, Loop
from equimodal.errors import UserError
from equimodal.methods.aim.auxiliary import BlockPass
from equimodal.methods.aim.decoupling import decoupled_weights
from equimodal.methods.aim.method import AIMMethod
from equimodal.methods.aim.modulator import Modulator
from equimodal.methods.aim.settings import AIMSettings
from equimodal.methods.base import Batch, Task
from equimodal.methods.class_means import ClassMeans
from equimodal.models.encoder import detach, select
from equimodal.models.framework import build_model
from equimodal.models.padded import Input, Padded, lengths_mask
from equimodal.objectives import Classification
from equimodal.settings.training import ModelSettings, TransformerSettings

CLASSES = 3
SHAPES = {"text": (5, 6), "sound": (9, 4), "face": (7, 3)}
SMALL = ModelSettings(
    width=4,
    layers=(1, 1, 1, 1),
    stem_stride=1,
    stem_pool=False,
    transformer=TransformerSettings(width=8, heads=2, ffn=2, dropout=0.0),
)


def data(seed: int, rows: int = 12) -> tuple[dict[str, Input], torch.Tensor]:
    """Sequences of every length, 0 included, in float64; padding zero."""
    means = {
        name: torch.randn((CLASSES, shape[1]), generator=torch.Generator().manual_seed(9))
        for name, shape in SHAPES.items()
    }
    draw = torch.Generator().manual_seed(seed)
    labels = torch.arange(rows) % CLASSES
    inputs: dict[str, Input] = {}
    for name, shape in SHAPES.items():
        lengths = torch.randint(1, shape[0] + 1, (rows,), generator=draw)
        lengths[:2] = torch.tensor([0, 1])
        values = means[name][labels][:, None] + 0.5 * torch.randn((rows, *shape), generator=draw)
        inputs[name] = Padded(values.double(), lengths_mask(lengths, shape[0])).zeroed()
    return inputs, labels


def class_means() -> dict[str, Input]:
    means = ClassMeans(Classification(CLASSES))
    for seed in range(4):
        means.add(*data(100 + seed))
    return means.result()


def model(settings: ModelSettings = SMALL):
    torch.manual_seed(0)
    return build_model(SHAPES, CLASSES, settings).double()


def settings(**changes) -> AIMSettings:
    dap = {"steps": 6, "required_accuracy": 0.0, **changes.pop("dap", {})}
    pdm = {"steps": 3, "latent": 16, "every": 2, **changes.pop("pdm", {})}
    return AIMSettings.read({"lambda_mod": 1.0, "dap": dap, "pdm": pdm, **changes}, "aim")


def batches():
    seed = 0
    while True:
        yield Batch(*data(seed))
        seed += 1


def filled(x: Input, more: int, content: float) -> Input:
    """The same sequences with other content at padded positions, and more of them."""
    assert isinstance(x, Padded)
    values = torch.cat([x.values, x.values.new_zeros(len(x), more, x.values.shape[2])], dim=1)
    mask = torch.cat([x.mask, x.mask.new_zeros(len(x), more)], dim=1)
    return Padded(values.masked_fill(~mask[..., None], content), mask)


def everything(more: int, content: float) -> dict[str, torch.Tensor]:
    """All that AIM computes on a batch and its fit, with the padding of inputs and class means changed."""
    framework = model()
    means = {name: filled(mean, more, content) for name, mean in class_means().items()}
    method = AIMMethod(framework, settings(), Task(Classification(CLASSES), 4, 5, 0, means))
    changed = [
        Batch({name: filled(x, more, content) for name, x in batch.inputs.items()}, batch.labels)
        for batch, _ in zip(batches(), range(6), strict=False)
    ]
    log = method.fit(lambda: iter(changed))
    method.train()
    modulator = method.modulator
    outputs = framework(modulator.riding.ride(changed[0].inputs))
    batch, labels = changed[0]
    terms = modulator(batch, labels, 0)
    shown = modulator.showing.learned(outputs, modulator.riding.behind(outputs, len(labels)), labels, 0)
    losses = {f"{i}/L_pdm": loss for i, (loss, _, _) in enumerate(modulator.auxiliaries.losses(shown))}
    found = {
        "logits": outputs.logits,
        "terms": terms.loss,
        **terms.logs,
        **losses,
        **{f"feature/{name}": z for name, z in terms.features.items()},
    }
    for name, line in outputs.stages.items():
        for depth, stage in enumerate(line):
            found[f"pooled/{name}/{depth}"] = stage.pooled
            found[f"prototypes/{name}/{depth}"] = modulator.riding.behind(outputs, len(labels))[name, depth]
    found |= {f"fit/{name}": torch.tensor(values) for name, values in log["dap"].items()}
    found |= {f"fit/{name}": torch.tensor(value) for name, value in log["blocks"].items()}
    terms.loss.backward()
    found |= {f"gradient/{name}": p.grad for name, p in framework.named_parameters() if p.grad is not None}
    return {name: value.detach().double() for name, value in found.items()}


@pytest.fixture(scope="module")
def plain() -> dict[str, torch.Tensor]:
    """All of it with padding as it comes."""
    return everything(0, 0.0)


@pytest.mark.parametrize(("more", "content"), [(0, 5.0), (4, 0.0), (3, math.nan)])
def test_padding_changes_nothing_of_what_aim_computes(
    plain: dict[str, torch.Tensor], more: int, content: float
) -> None:
    """Logits, pooled outputs, prototypes, s, L_mod, the PDM's losses and the gradients; the fit before them too."""
    other = everything(more, content)
    assert (
        plain.keys() == other.keys() and {"depth1/text/s", "depth3/face/L_aux", "0/L_pdm", "fit/L_cls"} <= plain.keys()
    )
    assert all(bool(value.isfinite().all()) for value in plain.values())
    for name, value in plain.items():
        torch.testing.assert_close(
            other[name], value, rtol=1e-7, atol=1e-9, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_padded_positions_of_prototypes_never_move() -> None:
    for init in ("class_mean", "normal"):
        method = AIMMethod(
            model(), settings(dap={"init": init, "steps": 20}), Task(Classification(CLASSES), 4, 5, 0, class_means())
        )
        method.fit(batches)
        loop, stream = Loop(method), batches()
        for _ in range(3):
            method.training_step(next(stream), loop)
        assert method.modulator.dap is not None
        some = 0
        for prototypes in method.modulator.dap.samples().values():
            assert isinstance(prototypes, Padded)
            assert bool((prototypes.values[~prototypes.mask] == 0).all()) and bool(
                (prototypes.values[prototypes.mask] != 0).all()
            )
            some += int((~prototypes.mask).sum())
        assert some > 0


def test_reconstruction_looks_at_real_positions() -> None:
    made = Modulator(model(), settings(), Classification(CLASSES), class_means(), 0).dap
    literal = Modulator(model(), settings(dap={"recon": "sum"}), Classification(CLASSES), class_means(), 0).dap
    assert made is not None and literal is not None
    for part in (made, literal):
        with torch.no_grad():
            for parameter in part.inputs.values():
                parameter += 0.5
            part.shift["text"][0] += 0.5  # one channel of six is off by one instead of a half
    real = sum(int(mean.mask.sum()) * mean.values.shape[2] for mean in class_means().values())  # type: ignore[union-attr]
    text = class_means()["text"]
    extra = 0.75 * int(text.mask.sum())  # type: ignore[union-attr]
    assert float(made.reconstruction().detach()) == pytest.approx((0.25 * 2 + 0.25 + 0.75 / 6) / 3)
    assert float(literal.reconstruction().detach()) == pytest.approx((0.25 * real + extra) / (3 * CLASSES))


@pytest.mark.parametrize(
    "variant",
    [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in VARIANTS if name != "whole-maps"],
)
def test_every_variant_trains_two_epochs(variant: str) -> None:
    dropout = SMALL.model_copy(update={"transformer": TransformerSettings(width=8, heads=2, ffn=2, dropout=0.1)})
    changes = copy.deepcopy(VARIANTS[variant])
    method = AIMMethod(model(dropout), settings(**changes), Task(Classification(CLASSES), 4, 5, 0, class_means()))
    method.fit(batches)
    start = copy.deepcopy(method.state_dict())
    loop, stream, logs = Loop(method), batches(), {}
    for epoch in range(2):
        method.train()
        method.begin_epoch(epoch, loop)
        for _ in range(2):
            step = method.training_step(next(stream), loop)
            logs |= {"loss": float(step.loss.detach()), **{name: float(value) for name, value in step.logs.items()}}
        method.end_epoch(epoch, loop)
    assert all(math.isfinite(value) for value in logs.values()) and all(
        f"depth{d}/{m}/s" in logs for d in (1, 2, 3) for m in SHAPES
    )
    assert all(bool(value.isfinite().all()) for value in method.state_dict().values())
    moved = {name for name, value in method.state_dict().items() if not torch.equal(value, start[name])}
    assert any(name.startswith("model.encoders.text.layers.0.attention") for name in moved)
    assert not any("dap.mean_" in name or "dap.mask_" in name for name in moved)


def test_whole_maps_of_sequences_are_refused_in_one_line() -> None:
    method = AIMMethod(model(), settings(pool="none"), Task(Classification(CLASSES), 4, 5, 0, class_means()))
    with pytest.raises(
        UserError,
        match=r"pool: none needs blocks that give one tensor; text gives 2 \(a sequence and its mask\): set pool: mean",
    ):
        method.fit(batches)


@pytest.mark.parametrize("block", [0, 1, 2])
def test_gradient_reaches_theta_through_the_pdm(block: int) -> None:
    """Every matrix of an auxiliary block's original: attention, hidden layer, projection;
    and nothing of the PDM itself (Eq. 13).
    """
    framework = model()
    method = AIMMethod(
        framework,
        settings(original_weight=0.0, dap={"cls_weight": 0.0}),
        Task(Classification(CLASSES), 4, 5, 0, class_means()),
    )
    method.fit(batches)
    weights = decoupled_weights(framework.encoders["sound"].blocks[block])
    # One block's auxiliary term alone: with the originals and the head out of the loss, and I_d a constant, only it
    # reaches its theta.
    modulator = method.modulator
    inputs, labels = data(7)
    outputs = framework(modulator.riding.ride(inputs))
    maps = detach(select(outputs.stages["sound"][block].input, len(outputs.logits), slice(0, len(labels))))
    prototypes = outputs.stages["sound"][block].pooled[len(labels) :].detach()
    modulator.auxiliaries.reset()
    seen = BlockPass(maps, len(labels), labels, prototypes)
    modulator.auxiliaries.weak({("sound", block): seen})[0].loss.sum().backward()
    assert len(weights) == (5 if block == 0 else 4)
    assert all(weight.grad is not None and float(weight.grad.abs().max()) > 0 for weight in weights.values())
    assert all(p.grad is None for p in modulator.auxiliaries.parameters())


def test_a_transformer_of_three_blocks_beside_a_resnet_of_four() -> None:
    """Aligned by relative depth; sequences, pictures and vectors in one batch."""
    shapes = {"text": (5, 6), "visual": (2, 2, 8, 8), "facts": (4,)}
    torch.manual_seed(0)
    framework = build_model(
        shapes, CLASSES, SMALL.model_copy(update={"mlp": SMALL.mlp.model_copy(update={"layers": 5, "width": 8})})
    )

    def draw(seed: int) -> Batch:
        inputs, labels = data(seed)
        random = torch.Generator().manual_seed(seed)
        text = pytree.tree_map(lambda t: t.float() if t.is_floating_point() else t, inputs["text"])
        visual, facts = torch.randn((12, 2, 2, 8, 8), generator=random), torch.randn((12, 4), generator=random)
        return Batch(
            {"text": text, "visual": visual + labels.view(-1, 1, 1, 1, 1), "facts": facts + labels[:, None]}, labels
        )

    means = ClassMeans(Classification(CLASSES))
    for seed in range(4):
        means.add(*draw(seed))
    method = AIMMethod(framework, settings(tau="auto"), Task(Classification(CLASSES), 4, 5, 0, means.result()))
    assert method.modulator.blocks.depths == 3 and method.modulator.blocks.levels == {
        "text": [0, 1, 2],
        "visual": [1, 2, 3],
        "facts": [1, 3, 4],
    }
    depths = framework(draw(0).inputs).depths()
    assert {name: len(line) for name, line in depths.items()} == dict.fromkeys(("text", "visual", "facts"), 3)

    def stream():
        seed = 0
        while True:
            yield draw(seed)
            seed += 1

    method.fit(stream)
    loop = Loop(method)
    logs = {
        name: float(value)
        for seed in range(3)
        for name, value in method.training_step(draw(50 + seed), loop).logs.items()
    }
    assert all(math.isfinite(value) for value in logs.values()) and {f"depth3/{m}/s_aux" for m in shapes} <= set(logs)


def test_the_librarys_aim_takes_padded_inputs() -> None:
    from equimodal import AIM

    torch.manual_seed(0)
    own = model().float()
    encoders = {name: encoder.blocks for name, encoder in own.encoders.items()}
    aim = AIM(
        encoders,
        own.fusion,
        CLASSES,
        affine_axis=2,
        dap={"steps": 3, "required_accuracy": 0.0},
        pdm={"steps": 2, "latent": 8},
    )

    def loader():
        for seed in range(3):
            inputs, labels = data(seed)
            yield {name: Padded(x.values.float(), x.mask) for name, x in inputs.items()}, labels  # type: ignore[union-attr]

    stream = list(loader())
    aim.fit(stream)
    terms = aim.loss(*stream[0])
    expected = own(stream[0][0])
    torch.testing.assert_close(terms.logits, expected.logits)
    terms.loss.backward()
    aim.step()
    aim.end_epoch()
    again = AIM(
        encoders,
        own.fusion,
        CLASSES,
        affine_axis=2,
        dap={"steps": 3, "required_accuracy": 0.0},
        pdm={"steps": 2, "latent": 8},
    )
    again.load_state_dict(aim.state_dict())
    torch.testing.assert_close(again.loss(*stream[1]).loss, aim.loss(*stream[1]).loss)
