"""NaN and infinite numbers in arrays that others computed."""

import numpy as np

from equimodal.features.contract import Row
from equimodal.features.media import MediaError


def cleaned(values: np.ndarray, rule: str, cut: int = 0) -> Row:
    """A row of finite numbers.

    Args:
        values: any shape; not changed.
        rule: "zero" sets the others to 0 and counts them, "reject" refuses the sample.
        cut: steps that were left out, for the row's record.

    Raises:
        MediaError: rule "reject", and a number that is not finite; says where the first one is.
    """
    bad = ~np.isfinite(values)
    count = int(bad.sum())
    if count and rule == "reject":
        place = [int(axis[0]) for axis in np.nonzero(bad)]
        raise MediaError(
            f"{count} of {values.size} numbers are NaN or infinite (first at {place}): set nonfinite: zero,"
            " or mend the file"
        )
    return Row(np.where(bad, np.float32(0), values) if count else values, cut, count)
