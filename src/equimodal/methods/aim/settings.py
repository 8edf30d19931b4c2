"""Settings of AIM: each choice where the paper is silent is one."""

from typing import Any, ClassVar, Literal

from pydantic import Field

from equimodal.settings.base import Settings
from equimodal.settings.method import BOTH_TASKS, WarmupSettings


class DAPSettings(Settings):
    """Depth-adaptive prototypes (aim.md section 3)."""

    init: Literal["class_mean", "normal"] = Field(
        "class_mean", description="initial prototypes: class means of the inputs, or N(0, init_std^2)"
    )
    init_std: float = Field(0.1, gt=0, description="standard deviation of prototypes that start from random numbers")
    cls: Literal["fused+unimodal", "fused"] = Field(
        "fused+unimodal", description="Eq. 3 on the fused logits only, or on each modality's split readout too"
    )
    decoder: Literal["affine", "identity"] = Field(
        "affine", description="Psi_dap: per-channel affine from the identity, or the identity"
    )
    lr: float = Field(2e-2, gt=0, description="Adam")
    steps: int = Field(200, ge=1, le=100_000, description="after the warm-up, at most")
    early_stop: bool = Field(
        True, description="end the fit once each readout that Eq. 3 asks gives the prototypes their own class"
    )
    cls_weight: float = Field(1.0, ge=0, description="weight of L_cls (Eq. 3) in Eq. 5")
    recon_weight: float = Field(1.0, ge=0, description="weight of L_r (Eq. 4) in Eq. 5")
    recon: Literal["mean", "sum"] = Field("mean", description="L_r over elements: mean, or the literal Frobenius sum")
    required_accuracy: float = Field(
        1.0, ge=0, le=1, description="the stage fails when the fused head gives fewer prototypes their own class"
    )


class PDMSettings(Settings):
    """Parameter decoupling mechanism (aim.md sections 4 and 12)."""

    reading: Literal["rows", "exact"] = Field(
        "rows", description="rows: a fully connected layer on each fan-in row; exact: one over all weights of a layer"
    )
    max_weights: int = Field(50_000_000, ge=1, le=10**10, description="exact: largest allowed number of PDM weights")
    latent: int = Field(512, ge=1, le=65_536, description="width of theta_lat (Eq. 7), at most a row's fan-in")
    mask_std: float = Field(2.0, ge=0, description="spread of w's logits at the start; 0 keeps w at 0.5")
    lr: float = Field(
        0.0,
        ge=0,
        description="Adam, encoder and decoder; at 0 they restore the weights as exactly as they can, for good",
    )
    mask_lr: float = Field(3e-2, gt=0, description="Adam, mask: L_re does not depend on it")
    steps: int = Field(
        4, ge=0, le=10_000, description="of Eq. 8 on each epoch's first batch, from a start for its weights"
    )
    every: int = Field(8, ge=1, le=1_000_000, description="steps between two further updates by Eq. 8")
    fraction: float = Field(
        0.5,
        gt=0,
        le=1,
        description="share of the auxiliaries' samples that updates are shown: a random part, unbiased",
    )
    relative: bool = Field(False, description="L_re divided by ||theta||^2; false is the literal Eq. 8")
    detach: bool = Field(True, description="theta and I_d are constants in Eq. 8")


class AIMSettings(WarmupSettings):
    """Adaptive intra-network modulation (arXiv 2508.19769; aim.md). Defaults are the shipped choices; `literal` is the
    paper to the letter.
    """

    least_modalities: ClassVar[int] = 2
    tasks: ClassVar[tuple[str, ...]] = BOTH_TASKS
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "literal": {
            "lambda_mod": 1.0,
            "tau": 1.0,
            "normalize": False,
            "pool": "mean",
            "update": "joint",
            "aux_weight": 1.0,
            "aux_fraction": 1.0,
            "rho_norm": "together",
            "detach_aux_prototypes": False,
            "dap": {"cls": "fused", "cls_weight": 1.0, "recon_weight": 1.0},
        },
        "fast": {
            "aux_every": 4,
            "aux_fraction": 0.5,
            "pdm": {"every": 16},
        },
    }

    lambda_mod: float = Field(6.0, ge=0, description="weight of L_mod beside the task loss")
    task_loss: bool = Field(
        True, description="keep the cross entropy during modulation; false is Algorithm 1 to the letter"
    )
    pam: bool = Field(True, description="auxiliary blocks (parameter-adaptive modulation)")
    dam: bool = Field(True, description="alpha_d of Eq. 14 (depth-adaptive modulation); false: alpha_d = 1")
    scores: Literal["prototypes", "label"] = Field(
        "prototypes", description="label: a linear classifier per block, on pooled outputs, replaces Eq. 9 and 10"
    )
    original_weight: float = Field(
        1.0, ge=0, description="factor of the original blocks' terms in Eq. 11; 0 is `aux only` (Fig. 5b)"
    )
    aux_weight: float = Field(0.5, ge=0, description="factor of the auxiliary blocks' terms in Eq. 11")
    aux_modalities: Literal["all", "dominant"] = Field(
        "all", description="whose blocks get auxiliaries; dominant is the abstract's reading"
    )
    aux_fraction: float = Field(
        1.0, gt=0, le=1, description="auxiliary terms on a random part of each batch: unbiased, cheaper"
    )
    aux_every: int = Field(
        1, ge=1, le=1_000_000, description="auxiliary terms in every n-th step, weighing no more than in each"
    )
    detach_aux_inputs: bool = Field(True, description="I_d is a constant for auxiliary and good blocks")
    detach_aux_prototypes: bool = Field(
        True, description="P_d is a constant for auxiliary blocks: their loss concerns their own weights alone"
    )
    rho_norm: Literal["together", "apart"] = Field(
        "apart",
        description="Eq. 12 over the 2M blocks of a depth, or over originals and auxiliaries apart: originals then"
        " weigh as much as without auxiliaries",
    )
    tau: float | Literal["auto"] = Field(
        1.0,
        description="distances are divided by it; auto: mean nearest-prototype gap at that depth after the DAP stage",
    )
    normalize: bool = Field(False, description="L2-normalise pooled features and prototypes before distances")
    pool: Literal["mean", "none"] = Field("mean", description="distances on pooled outputs, or on whole maps")
    update: Literal["joint", "alternate"] = Field(
        "joint", description="how prototypes move: they ride in the batch, or Eq. 5 at each epoch's end"
    )
    ride_fraction: float = Field(
        1.0,
        gt=0,
        le=1,
        description="joint: share of the prototypes that ride and learn in a step, drawn at random; the others pass"
        " apart, without gradient",
    )
    statistics: Literal["samples", "all"] = Field(
        "samples", description="joint: rows that normalise a batch in which prototypes ride: the samples, or all"
    )
    follow_schedule: Literal["prototypes", "all", "none"] = Field(
        "none",
        description="whose learning rates follow training.schedule, of AIM's own parts; the decoupling begins anew with"
        " every epoch",
    )
    dap_steps: int = Field(20, ge=1, le=100_000, description="alternate: steps of Eq. 5 at each epoch's end")
    ema: float = Field(0.9, ge=0, lt=1, description="alternate: smoothing of P_d between epochs")
    dap: DAPSettings = DAPSettings()
    pdm: PDMSettings = PDMSettings()

    @property
    def fit(self) -> dict[str, Any]:
        """What the fitted prototypes are set by. They are fitted whatever a variant uses of them, so that every variant
        can share them.
        """
        values = self.slice()
        return {name: values[name] for name in ("start_epoch", "dap", "normalize", "pool")}
