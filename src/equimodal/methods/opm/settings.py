"""Settings of OPM and OPM with OGM."""

from pydantic import Field

from equimodal.methods.ogm.settings import OGMSettings
from equimodal.settings.base import Listed


class OPMSettings(OGMSettings):
    """On-the-fly prediction modulation (TPAMI 2024): features of modalities that lead are dropped, sample by sample.

    methods.md section 13. What OGM is set by counts with `ogm: true`.
    """

    q_base: float = Field(
        0.5, ge=0, le=1, description="drop probability of a modality that leads by nothing; 0 is joint training"
    )
    lam: float = Field(0.5, ge=0, description="how much a lead adds: q = q_base (1 + lam tanh(rho - 1)), at most 1")
    p_exe: float = Field(
        0.7, ge=0, le=1, description="probability that a batch is modulated at all; 0 is joint training"
    )
    warmup: float = Field(
        0.06,
        ge=0,
        lt=1,
        description="share of the run's epochs without any modulation, rounded up; the authors' 6 of 100 epochs",
    )
    ogm: bool = Field(False, description="modulate the encoders' gradients too, as method ogm does (OPM&OGM)")
    window: Listed[tuple[float, float]] = Field(
        (0.0, 0.6),
        description="of ogm: from and to, as shares of the run's epochs, but not in the warm-up; the authors' 0 to 60"
        " of 100 epochs",
    )
