"""Parameters and operations against hand counts."""

import pytest
import torch
from torch import nn

from equimodal.evaluation import operations as cost
from equimodal.methods.base import Task
from equimodal.methods.joint.method import Joint
from equimodal.methods.joint.settings import JointSettings
from equimodal.models.framework import build_model
from equimodal.objectives import Classification
from equimodal.settings.training import ModelSettings, TrainingSettings

SHAPES = {"audio": (1, 16, 16), "visual": (3, 2, 16, 16)}
CPU = torch.device("cpu")


@pytest.fixture
def model():
    return build_model(SHAPES, 5, ModelSettings(width=4, layers=(1, 1, 1, 1), stem_stride=1, stem_pool=False))


def test_parameters_by_part(model):
    counts = cost.parameters(model)
    assert counts["total"] == sum(counts["encoders"].values()) + counts["fusion"]
    assert counts["fusion"] == 2 * 32 * 5 + 5
    assert counts["encoders"]["visual"] - counts["encoders"]["audio"] == 2 * 4 * 7 * 7  # two more input channels


def test_inference_counts_convolutions_and_the_head(model):
    expected = 0

    def count(module, inputs, output):
        nonlocal expected
        if isinstance(module, nn.Conv2d):
            expected += 2 * output.numel() * module.weight[0].numel()
        elif isinstance(module, nn.Linear):
            expected += 2 * output.numel() * module.in_features

    handles = [
        module.register_forward_hook(count) for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    model.eval()
    with torch.no_grad():
        model({name: torch.zeros(1, *shape) for name, shape in SHAPES.items()})
    for handle in handles:
        handle.remove()
    assert cost.inference_flops(model, SHAPES, CPU) == expected


def test_training_is_about_three_times_inference_and_joint_is_joint(model):
    inference = cost.inference_flops(model, SHAPES, CPU)
    plain = cost.plain_training_flops(model, SHAPES, Classification(5), CPU)
    assert 2.5 * inference < plain < 3 * inference  # nothing flows back into the inputs
    training = TrainingSettings(batch_size=4)
    method = Joint(model, JointSettings(), Task(Classification(5), 1, 1, 0))
    assert cost.method_training_flops(method, SHAPES, training, CPU) == plain


def test_mean_over_a_cycle_of_unequal_steps(model):
    class Every(Joint):
        steps = 0

        def cycle(self):
            return 4

        def training_step(self, batch, loop):
            step = super().training_step(batch, loop)
            if self.steps % 4 == 0:
                super().training_step(batch, loop)
            self.steps += 1
            return step

    plain = cost.plain_training_flops(model, SHAPES, Classification(5), CPU)
    method = Every(model, JointSettings(), Task(Classification(5), 1, 1, 0))
    assert cost.method_training_flops(method, SHAPES, TrainingSettings(batch_size=4), CPU) == pytest.approx(
        1.25 * plain
    )
