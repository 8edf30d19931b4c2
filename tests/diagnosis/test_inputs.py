"""What batches of other people's loaders mean."""

from collections import UserDict
from typing import Any

import pytest
import torch
from torch import nn

from diagnosis_toys import equal
from equimodal.diagnosis.inputs import Reader, logits_of
from equimodal.errors import UserError

A, B, Y = torch.zeros(4, 2), torch.ones(4, 3), torch.arange(4)


class Recorder(nn.Module):
    """Keeps how it is called."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        self.called = (args, kwargs)
        return torch.zeros(4, 2)


@pytest.mark.parametrize(
    ("batch", "options", "args", "kwargs"),
    [
        (({"a": A, "b": B}, Y), {}, ({"a": A, "b": B},), {}),
        ((A, B, Y), {}, (A, B), {}),
        (((A, B), Y), {}, (A, B), {}),
        ((Y, A, B), {"labels": 0}, (A, B), {}),
        ({"a": A, "b": B, "labels": Y}, {}, (), {"a": A, "b": B}),
        (UserDict({"a": A, "b": B, "class": Y}), {"labels": "class"}, (), {"a": A, "b": B}),
        ({"b": B, "more": 7, "a": A, "y": Y}, {}, (), {"a": A, "b": B, "more": 7}),
        ({"a": A, "b": B, "y": Y}, {"call": "dict"}, ({"a": A, "b": B},), {}),
        ({"a": A, "b": B, "y": Y}, {"call": "positional"}, (A, B), {}),
        ({"x": A, "z": B, "y": Y}, {"adapter": lambda batch: (batch["x"], batch["z"], batch["y"])}, (A, B), {}),
    ],
)
def test_forms_of_batches(batch: Any, options: dict[str, Any], args: Any, kwargs: Any) -> None:
    reader, model = Reader(["a", "b"], **options), Recorder()
    read = reader.read(batch)
    assert torch.equal(read.labels, Y)
    assert [next(iter(part.values())) is x for part, x in zip(read.parts.values(), (A, B), strict=True)] == [True, True]
    reader.output(model, read, read.parts)
    assert equal(model.called, (args, kwargs))


class Named(nn.Module):
    """Has a parameter for each modality, one of them with a default."""

    def forward(self, a: Any, b: Any = None) -> Any:
        self.called = (a, b)
        return torch.zeros(4, 2)


@pytest.mark.parametrize("batch", [({"b": B, "a": A}, Y), (A, B, Y), {"b": B, "a": A, "y": Y}])
def test_a_mapping_goes_to_parameters_of_its_keys(batch: Any) -> None:
    reader, model = Reader(["a", "b"]), Named()
    read = reader.read(batch)
    reader.output(model, read, read.parts)
    assert equal(model.called, (A, B))


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        ({"a": A, "b": B, "c": A, "y": Y}, "Named.forward cannot be called with a batch's a, b, c as call='keywords'"),
        ((A, B, A, Y), "as call='positional' does .too many positional arguments.: pass another call="),
    ],
)
def test_what_forward_does_not_take_is_said(batch: Any, said: str) -> None:
    reader = Reader({"a": "a", "b": "b"} if isinstance(batch, dict) else {"a": 0, "b": 1})
    read = reader.read(batch)
    with pytest.raises(UserError, match=said):
        reader.output(Named(), read, read.parts)


def test_a_mapping_with_a_key_that_is_no_parameter_goes_as_it_is() -> None:
    model, reader, inputs = Named(), Reader(["a", "b"]), {"a": A, "b": B, "c": A}
    read = reader.read((inputs, Y))
    reader.output(model, read, read.parts)
    assert equal(model.called, (inputs, None))


def test_what_is_put_in_place_reaches_the_model_where_it_was() -> None:
    reader, model = Reader({"a": 0, "b": 2}), Recorder()
    read = reader.read((A, "kept", B, Y))
    reader.output(model, read, {"b": {2: B + 1}})
    assert equal(model.called, ((A, "kept", B + 1), {}))


def test_a_modality_may_have_several_inputs_and_a_call_of_its_own() -> None:
    reader = Reader({"a": ("x", "mask"), "b": "z"}, call=lambda model, inputs: model(inputs["z"], inputs["mask"]))
    read, model = reader.read({"x": A, "mask": A > 0, "z": B, "label": Y}), Recorder()
    assert list(read.parts["a"]) == ["x", "mask"]
    reader.output(model, read, read.parts)
    assert equal(model.called, ((B, A > 0), {}))


@pytest.mark.parametrize(
    ("modalities", "options", "batch", "words"),
    [
        (["a"], {}, None, "two or more"),
        ("ab", {}, None, "two or more"),
        (["a", "b"], {"call": "keys"}, None, "none of dict, keywords, positional"),
        (["a", "c"], {}, ({"a": A, "b": B}, Y), "c is no input of a batch .* none of: a, b"),
        (["a", "b"], {}, {"a": A, "b": B}, "no labels in a batch with the keys a, b"),
        (["a", "b"], {}, A, "a Tensor, neither a mapping nor a tuple"),
        (["a", "b"], {}, (A, B, Y[:3]), r"labels of shape \[3\] and tensors of 4 samples"),
        (["a", "b"], {"labels": 3}, (A, B, Y), "labels=3 is no position in a batch of 3"),
        (["a", "b"], {}, (A, B, "y"), "labels of a batch are str"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(modalities: Any, options: Any, batch: Any, words: str) -> None:
    with pytest.raises(UserError, match=words) as refused:
        Reader(modalities, **options).read(batch)
    assert "\n" not in str(refused.value)


class HasLogits:
    logits = A


def test_logits_in_what_a_model_returns() -> None:
    for output in (A, {"logits": A, "loss": B}, HasLogits(), (A, B)):
        assert logits_of(output) is A
    assert logits_of({"other": B}, lambda output: output["other"]) is B
    with pytest.raises(UserError, match="returns a dict and no logits"):
        logits_of({"other": B})
