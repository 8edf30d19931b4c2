"""Joint training: cross entropy on the fused logits, nothing else. The baseline, and every AIM run's warm-up."""

from equimodal.methods.base import Method
from equimodal.methods.joint.settings import JointSettings


class Joint(Method[JointSettings]):
    """L = CE(f, y) (aim.md Eq. 2; methods.md section 4)."""

    paper = "baseline"
