"""AIM through the real stages on the tiny dataset: warm-up, prototypes, training, resuming; identity 6 end to end."""

import json

import pytest
import torch

import tiny_dataset
from equimodal.engines.layout import fit_path, model_folder, warmup_path
from equimodal.stages import prototypes, train, warmup
from equimodal.store import read_tensors


@pytest.fixture
def started(tiny):
    """Warm-up and fit of `aim`, seed 0, and the checked settings."""
    params = tiny_dataset.params()
    warmup.run(params, "tiny", "aim", 0)
    prototypes.run(params, "tiny", "aim", 0)
    return params


def curves(method: str) -> list[dict[str, float]]:
    return [
        row["metrics"] for row in json.loads((model_folder("tiny", method, 0) / "curves.json").read_text())["epochs"]
    ]


def test_aim_trains_from_the_warmup_and_exports_the_plain_model(started):
    train.run(started, "tiny", "aim", 0)
    epochs = curves("aim")
    assert len(epochs) == 3
    assert "depth4/audio/s" not in epochs[0]
    expected = [
        "s",
        "s_aux",
        "rho",
        "rho_aux",
        "L",
        "L_aux",
        "L_g",
        "L_re",
        "w_mean",
        "w_std",
        "saturated_low",
        "saturated_high",
        "prototype_cosine",
    ]
    for epoch in epochs[1:]:
        for depth in range(1, 5):
            assert f"depth{depth}/alpha" in epoch
            assert all(f"depth{depth}/{m}/{name}" in epoch for m in ("audio", "visual") for name in expected)
        assert {"dap/L_cls", "dap/L_r", "dap/accuracy", "dap/audio/accuracy", "dap/visual/accuracy"} <= set(epoch)
    exported, _ = read_tensors(model_folder("tiny", "aim", 0) / "last.safetensors")
    start, _ = read_tensors(warmup_path("tiny", "aim", 0))
    model = {name.removeprefix("module/model.") for name in start if name.startswith("module/model.")}
    assert set(exported) == model
    log = json.loads(fit_path("tiny", "aim", 0).with_suffix(".json").read_text())["log"]
    assert set(log) == {"dap", "cosine", "blocks", "health"}


def test_lambda_zero_with_alternate_is_the_joint_run_bit_for_bit(tiny):
    """Identity 6 of aim.md: from the same warm-up, the same seed and the same order of the data."""
    params = tiny_dataset.params(methods={"aim": {"lambda_mod": 0.0, "update": "alternate"}})
    warmup.run(params, "tiny", "aim", 0)
    prototypes.run(params, "tiny", "aim", 0)
    train.run(params, "tiny", "aim", 0)
    train.run(params, "tiny", "joint", 0)
    a, _ = read_tensors(model_folder("tiny", "aim", 0) / "last.safetensors")
    b, _ = read_tensors(model_folder("tiny", "joint", 0) / "last.safetensors")
    assert a.keys() == b.keys() and all(torch.equal(value, b[name]) for name, value in a.items())
    for ours, joint in zip(curves("aim"), curves("joint"), strict=True):
        assert all(ours[name] == value for name, value in joint.items())


def test_a_stopped_run_goes_on_bit_identically(tiny, monkeypatch):
    """With what test_method.py resumes under a toy loop: constant prototypes, random parts of the batch."""
    params = tiny_dataset.params(methods={"aim": {"update": "alternate", "dap_steps": 2, "aux_fraction": 0.5}})
    warmup.run(params, "tiny", "aim", 0)
    prototypes.run(params, "tiny", "aim", 0)
    train.run(params, "tiny", "aim", 0)
    folder = model_folder("tiny", "aim", 0)
    whole = {rule: read_tensors(folder / f"{rule}.safetensors")[0] for rule in ("val", "last")}
    expected = curves("aim")

    from equimodal.training.loop import Loop

    save, saved = Loop.save, []

    def save_and_stop(loop, path):
        save(loop, path)
        saved.append(path)
        if len(saved) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(Loop, "save", save_and_stop)
    with pytest.raises(KeyboardInterrupt):
        train.run(params, "tiny", "aim", 0)
    train.run(params, "tiny", "aim", 0)
    assert curves("aim") == expected and len(saved) == 2
    for rule, tensors in whole.items():
        again = read_tensors(folder / f"{rule}.safetensors")[0]
        assert all(torch.equal(value, again[name]) for name, value in tensors.items())
