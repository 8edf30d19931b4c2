"""Settings of the training methods: one model a method, each choice where a paper is silent among them."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from equimodal.settings.base import Settings

BOTH_TASKS = ("classification", "regression")


class MethodSettings(Settings):
    """Every method's settings may name a preset; a variant's `base` is resolved before these are read.

    `least_modalities` and `tasks` say what data the method is for; other data is refused where params.yaml is read.
    """

    least_modalities: ClassVar[int] = 1
    tasks: ClassVar[tuple[str, ...]] = ("classification",)

    preset: str | None = None


class JointSettings(MethodSettings):
    """Cross entropy on the fused logits; nothing to set."""

    tasks: ClassVar[tuple[str, ...]] = BOTH_TASKS


class JointUniSettings(MethodSettings):
    """Cross entropy on the fused logits and on each modality's readout (methods.md 4.3)."""

    tasks: ClassVar[tuple[str, ...]] = BOTH_TASKS

    weight: float = Field(1.0, ge=0, description="weight of each modality's cross entropy; 0 is joint training")


class UnimodalSettings(MethodSettings):
    """One modality alone: encoder and linear classifier."""

    tasks: ClassVar[tuple[str, ...]] = BOTH_TASKS

    modality: str = Field(description="which one")


class OGMSettings(MethodSettings):
    """On-the-fly gradient modulation (CVPR 2022; methods.md section 7): the gradients of encoders that lead are made smaller."""

    least_modalities: ClassVar[int] = 2

    alpha: float = Field(0.8, ge=0, description="strength: k = 1 - tanh(alpha rho) for a modality with rho > 1; 0 is joint training (without ge)")
    ge: bool = Field(False, description="generalisation enhancement: noise as wide as each gradient on the encoders' gradients")
    window: tuple[float, float] = Field((0.0, 0.5), description="from and to, as shares of the run's epochs; the authors' 0 to 50 of 100 epochs")
    param_filter: Literal["auto", "conv4d", "matrices", "all"] = Field(
        "auto",
        description="which gradients of an encoder: 4-D (kernels), 2 or more dimensions, all; auto: conv4d where there are convolutions, else matrices",
    )
    variant: Literal["paper", "released"] = Field("paper", description="released: equal scores damp the first modality, conv4d only, both ends of the window")

    @model_validator(mode="after")
    def _window_in_order(self) -> Self:
        first, last = self.window
        if not 0 <= first < last <= 1:
            raise ValueError(f"window ({first:g}, {last:g}) must be two shares of the run, the smaller first, from 0 to 1")
        return self


class AUGSettings(MethodSettings):
    """Sustained boosting (arXiv 2502.20120; methods.md section 14): the weakest modality gets further classifiers while training goes on."""

    least_modalities: ClassVar[int] = 2

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "released": {
            "lambda_residual": 0.5, "residual": "merged", "step": "alternate", "score": "ratio", "check_first": True,
            "added": "frozen_random", "merge": [0.4, 0.6],
        },
    }  # fmt: skip

    lambda_residual: float = Field(0.5, ge=0, description="how much of what earlier classifiers know is taken from the newest one's label; paper: 0.1 to 1")
    width: int | None = Field(None, ge=1, description="outputs of Layer1; null: half of the widest feature, as the paper's 256 of 512")
    shared_head: Literal["all", "modality", "none"] = Field(
        "all", description="Layer2: one for all classifiers of all modalities, one a modality, or one a classifier"
    )
    interval: int | None = Field(None, ge=1, description="epochs between two checks (t_N); null: a tenth of the run, as the authors' 20 of 200, at least 1")
    check_first: bool = Field(False, description="check after the first epoch, too")
    score: Literal["difference", "ratio"] = Field("difference", description="how the modalities' mean true-class probabilities are compared; ratio: released")
    sigma: float = Field(1.0, gt=0, description="factor of the weaker score; ratio: the ratio that counts as balanced")
    tau: float = Field(0.01, ge=0, description="gap from which a classifier is added, in probability (ratio: of the ratio)")
    threshold: float = Field(0.4, gt=0, description="ratio with three or more modalities: score over the sum of the others, below which one is added")
    residual: Literal["each", "merged"] = Field("each", description="what earlier classifiers know: sum of their softmaxes, or softmax of their sum (released)")
    step: Literal["together", "alternate"] = Field("together", description="one step on the sum of the modalities' losses, or one a modality (released)")
    added: Literal["trained", "frozen_random"] = Field("trained", description="frozen_random: the released code's added layers, which no optimizer knows")
    merge: tuple[Annotated[float, Field(gt=0)], ...] | None = Field(
        None, description="weights of the modalities' logits in predictions, in the model's order of modalities; null: equal"
    )


class DAPSettings(Settings):
    """Depth-adaptive prototypes (aim.md section 3)."""

    init: Literal["class_mean", "normal"] = Field("class_mean", description="initial prototypes: class means of the inputs, or N(0, init_std^2)")
    init_std: float = Field(0.1, gt=0)
    cls: Literal["fused+unimodal", "fused"] = Field("fused+unimodal", description="Eq. 3 on the fused logits only, or on each modality's split readout too")
    decoder: Literal["affine", "identity"] = Field("affine", description="Psi_dap: per-channel affine from the identity, or the identity")
    lr: float = Field(2e-2, gt=0, description="Adam")
    steps: int = Field(200, ge=1, description="after the warm-up")
    cls_weight: float = Field(1.0, ge=0, description="weight of L_cls (Eq. 3) in Eq. 5")
    recon_weight: float = Field(1.0, ge=0, description="weight of L_r (Eq. 4) in Eq. 5")
    recon: Literal["mean", "sum"] = Field("mean", description="L_r over elements: mean, or the literal Frobenius sum")
    required_accuracy: float = Field(1.0, ge=0, le=1, description="the stage fails when the fused head gives fewer prototypes their own class")


class PDMSettings(Settings):
    """Parameter decoupling mechanism (aim.md section 4)."""

    reading: Literal["rows", "exact"] = Field("rows", description="rows: a fully connected layer a fan-in row; exact: one over all weights of a layer")
    max_weights: int = Field(50_000_000, ge=1, description="exact: largest allowed number of PDM weights")
    latent: int = Field(512, ge=1, description="width of theta_lat (Eq. 7)")
    mask_std: float = Field(2.0, ge=0, description="spread of w's logits at the start; 0 keeps w at 0.5")
    lr: float = Field(1e-2, gt=0, description="Adam")
    steps: int = Field(240, ge=0, description="on the frozen warm-up")
    every: int = Field(4, ge=1, description="during modulation: steps between two updates by Eq. 8")
    fraction: float = Field(0.5, gt=0, le=1, description="share of the auxiliaries' samples that those updates are shown: a random part, unbiased")
    relative: bool = Field(True, description="L_re divided by ||theta||^2; false is the literal Eq. 8")
    detach: bool = Field(True, description="theta and I_d are constants in Eq. 8")


class AIMSettings(MethodSettings):
    """Adaptive intra-network modulation (arXiv 2508.19769; aim.md). Defaults are the shipped choices; `literal` is the paper to the letter."""

    least_modalities: ClassVar[int] = 2
    tasks: ClassVar[tuple[str, ...]] = BOTH_TASKS
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "literal": {
            "lambda_mod": 1.0, "tau": 1.0, "normalize": False, "pool": "mean", "update": "joint", "aux_fraction": 1.0,
            "dap": {"cls": "fused", "cls_weight": 1.0, "recon_weight": 1.0},
        },
    }  # fmt: skip

    start_epoch: int = Field(5, ge=0, description="E: epochs of joint training before modulation")
    lambda_mod: float = Field(6.0, ge=0, description="weight of L_mod beside the task loss")
    task_loss: bool = Field(True, description="keep the cross entropy during modulation; false is Algorithm 1 to the letter")
    pam: bool = Field(True, description="auxiliary blocks (parameter-adaptive modulation)")
    dam: bool = Field(True, description="alpha_d of Eq. 14 (depth-adaptive modulation); false: alpha_d = 1")
    scores: Literal["prototypes", "label"] = Field("prototypes", description="label: a pooled linear classifier a block replaces Eq. 9 and 10")
    original_weight: float = Field(1.0, ge=0, description="factor of the original blocks' terms in Eq. 11; 0 is `aux only` (Fig. 5b)")
    aux_weight: float = Field(1.0, ge=0, description="factor of the auxiliary blocks' terms in Eq. 11")
    aux_modalities: Literal["all", "dominant"] = Field("all", description="whose blocks get auxiliaries; dominant is the abstract's reading")
    aux_fraction: float = Field(1.0, gt=0, le=1, description="auxiliary terms on a random part of each batch: unbiased, cheaper")
    detach_aux_inputs: bool = Field(True, description="I_d is a constant for auxiliary and good blocks")
    tau: float | Literal["auto"] = Field(1.0, description="distances are divided by it; auto: mean nearest-prototype gap at that depth after the DAP stage")
    normalize: bool = Field(False, description="L2-normalise pooled features and prototypes before distances")
    pool: Literal["mean", "none"] = Field("mean", description="distances on pooled outputs, or on whole maps")
    update: Literal["joint", "alternate"] = Field("joint", description="how prototypes move: they ride in the batch, or Eq. 5 at each epoch's end")
    dap_steps: int = Field(20, ge=1, description="alternate: steps of Eq. 5 at each epoch's end")
    ema: float = Field(0.9, ge=0, lt=1, description="alternate: smoothing of P_d between epochs")
    dap: DAPSettings = DAPSettings()
    pdm: PDMSettings = PDMSettings()

    @property
    def fit(self) -> dict[str, Any]:
        """What the fitted prototypes and PDM are set by. All is fitted, whatever a variant uses of it, so that every variant can share it."""
        values = self.slice()
        for name in ("every", "fraction"):  # of modulation alone
            del values["pdm"][name]
        return {name: values[name] for name in ("start_epoch", "dap", "pdm", "tau", "normalize", "pool")}
