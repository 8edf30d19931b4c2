"""Settings of the model, the loop and the machine."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from equimodal.settings.base import EPOCHS, Listed, Settings, Whole

SEEDS = 2**31  # a seed is below; every generator takes those
Seed = Annotated[int, Field(ge=0, lt=SEEDS)]
Blocks = Annotated[int, Field(ge=1, le=100)]


class TransformerSettings(Settings):
    """Encoder of sequences; one layer per block."""

    layers: int = Field(3, ge=1, le=200, description="blocks D")
    width: int = Field(40, ge=2, le=8192, description="channels of its maps; a multiple of heads")
    heads: int = Field(5, ge=1, le=256, description="attention heads")
    ffn: int = Field(4, ge=1, le=64, description="width of the hidden layer of a block, in widths")
    dropout: float = Field(0.1, ge=0, lt=1, description="share of activations set to zero in training")

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width ({self.width}) must be a multiple of heads ({self.heads})")
        return self


class MLPSettings(Settings):
    """Encoder of vectors; one linear map per block."""

    layers: int = Field(2, ge=1, le=200, description="blocks D")
    width: int = Field(64, ge=1, le=8192, description="numbers that a block gives")
    dropout: float = Field(0.0, ge=0, lt=1, description="share of activations set to zero in training")


class ModelSettings(Settings):
    """The multimodal framework: one encoder per modality and a fusion head.

    What a dataset's encoders do not use is no part of its results.
    """

    width: int = Field(64, ge=4, le=1024, description="resnet: channels of the first stage; 64 is ResNet18's")
    layers: Listed[tuple[Blocks, Blocks, Blocks, Blocks]] = Field(
        (2, 2, 2, 2), description="resnet: basic blocks per stage; 2,2,2,2 is ResNet18"
    )
    fusion: Literal["concat", "sum", "film", "gated"] = Field(
        "concat",
        description="head on the features: one Linear on all, a sum of one each, or the first modality scales and"
        " shifts (film) or gates (gated) the second",
    )
    frames: Literal["fold", "stack"] = Field(
        "fold", description="fold: frames pass one by one and are averaged; stack: frames as channels"
    )
    stem_stride: Annotated[Literal[1, 2], Whole] = Field(
        2, description="stride of the first convolution; 1 for small pictures"
    )
    stem_pool: bool = Field(True, description="max pooling after the first convolution; off for small pictures")
    init: Literal["ogm", "torchvision"] = Field(
        "ogm", description="ogm: kaiming fan_out convolutions, xavier linear; torchvision: its defaults"
    )
    encoders: dict[str, str] = Field(
        {}, description="modality -> encoder; by default the first of models/registry.py that reads its kind of feature"
    )
    transformer: TransformerSettings = TransformerSettings()
    mlp: MLPSettings = MLPSettings()
    weights: str | None = Field(
        None,
        description="encoders start from a ResNet in torchvision's names: path (.pth, .pt, .safetensors), or download"
        " (ImageNet); null: from init",
    )
    weights_for: Listed[tuple[str, ...]] | None = Field(
        None, min_length=1, description="modalities that start from weights; null: every one of frames or flow"
    )


class OptimizerSettings(Settings):
    """Optimizer of the framework."""

    name: Literal["sgd", "adam", "adamw"] = Field(
        "sgd", description="sgd with momentum; methods that change gradients by a factor need it"
    )
    lr: float = Field(1e-3, gt=0, description="learning rate of the first epoch after `schedule.warmup`")
    momentum: float = Field(0.9, ge=0, lt=1, description="sgd only")
    weight_decay: float = Field(1e-4, ge=0, description="L2 penalty; of adamw decoupled from the gradient")


class ScheduleSettings(Settings):
    """Learning rate over epochs."""

    name: Literal["constant", "step", "cosine"] = Field(
        "step", description="constant; step: times gamma every `step` epochs; cosine: to 0 at the last epoch"
    )
    step: int = Field(70, ge=1, le=EPOCHS, description="step: epochs between drops")
    gamma: float = Field(0.1, gt=0, le=1, description="step: factor of a drop")
    warmup: int = Field(0, ge=0, le=EPOCHS, description="epochs of linear increase at the start")


class AugmentSettings(Settings):
    """Random changes of training inputs, drawn on the device by their own generator."""

    crop: bool = Field(True, description="pictures: random resized crop")
    crop_scale: Listed[tuple[float, float]] = Field((0.5, 1.0), description="share of the picture's area")
    flip: bool = Field(True, description="pictures: horizontal flip, one draw per sample for all its frames and flow")
    per_frame: bool = Field(False, description="draw the crop for each frame, as the OGM-GE code does")
    spec_time: int = Field(
        0, ge=0, le=100_000, description="SpecAugment: longest masked stretch in time steps; 0 is off"
    )
    spec_freq: int = Field(
        0, ge=0, le=100_000, description="SpecAugment: longest masked stretch in frequency bins; 0 is off"
    )

    @model_validator(mode="after")
    def _scales_in_order(self) -> Self:
        low, high = self.crop_scale
        if not 0 < low <= high <= 1:
            raise ValueError(
                f"crop_scale ({low:g}, {high:g}) must be two shares, the smaller first, above 0 and at most 1"
            )
        return self


class TrainingSettings(Settings):
    """The one loop."""

    epochs: int = Field(100, ge=1, le=EPOCHS, description="of the whole run, a warm-up included")
    batch_size: int = Field(64, ge=2, le=65_536, description="training samples in a step, of each process")
    eval_batch_size: int = Field(256, ge=1, le=65_536, description="samples in a forward pass of evaluation")
    test_every_epoch: bool = Field(
        True,
        description="measure the test split every epoch, which selection rule `test` needs; off: once, at the end, and"
        " results have no such rule",
    )
    optimizer: OptimizerSettings = OptimizerSettings()
    schedule: ScheduleSettings = ScheduleSettings()
    clip_norm: float | None = Field(None, gt=0, description="largest gradient norm; null: no clipping")
    augment: AugmentSettings = AugmentSettings()


class RuntimeSettings(Settings):
    """The machine, and what of it changes results.

    Threads, precision and memory format change float results bit for bit, so they are fixed here, never by an engine.
    """

    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="where training runs; auto: a GPU if torch sees one"
    )
    devices: int = Field(1, ge=1, le=1024, description="processes of one training (DDP when above 1)")
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = Field(
        "32-true", description="of training's forward and backward passes; weights are float32 (docs/training.md)"
    )
    threads: int = Field(1, ge=1, le=1024, description="CPU threads per training process")
    workers: int = Field(2, ge=1, le=256, description="processes that decode media; no effect on results")
    channels_last: bool = Field(
        True, description="memory format of pictures; 1.3 to 1.6 times faster on small CPU networks"
    )
    resident: Literal["auto", "device", "map"] = Field(
        "auto", description="training arrays: on the device when they fit, or a memory map; same bytes either way"
    )


class TrackingSettings(Settings):
    """MLflow; never part of a result."""

    enabled: bool = Field(True, description="write runs to MLflow; results do not depend on it")
    uri: str = Field("sqlite:///mlflow.db", description="where runs are written")


class StudySettings(Settings):
    """What plain `snakemake` and `dvc repro` build."""

    datasets: list[str] = Field(min_length=1, description="names of `datasets`")
    from_scratch: list[str] = Field(alias="from-scratch", description="methods that start from random weights")
    from_warmup: list[str] = Field(
        alias="from-warmup", description="methods that start from a joint warm-up and what is fitted on it"
    )
    from_unimodal: list[str] = Field(
        [], alias="from-unimodal", description="methods that start from trained models of one modality each"
    )
    unimodal: list[str] = Field(
        [], description="single-modality methods that those start from (they stand in from-scratch, too)"
    )
    warmups: list[str] = Field(
        [], description="methods whose warm-up is trained (others of the same start epoch share it)"
    )
    fits: list[str] = Field(
        [], description="methods whose prototypes are fitted (variants with equal fit settings share them)"
    )
    seeds: list[Seed] = Field(
        min_length=1, max_length=1000, description="one run of every method each; results are over all of them"
    )
    tables: list[str] = Field([], description="tables of `studies` that are drawn from its runs, too")
    figures: list[str] = Field([], description="figures of `studies` that are drawn from its runs, too")

    @property
    def methods(self) -> list[str]:
        """Of every family."""
        return [*self.from_scratch, *self.from_warmup, *self.from_unimodal]

    @model_validator(mode="after")
    def _no_repeats(self) -> Self:
        for name in (
            "datasets",
            "from_scratch",
            "from_warmup",
            "from_unimodal",
            "unimodal",
            "seeds",
            "tables",
            "figures",
        ):
            values = getattr(self, name)
            if len(set(values)) != len(values):
                raise ValueError(f"study.{name.replace('_', '-')} names something twice")
        return self
