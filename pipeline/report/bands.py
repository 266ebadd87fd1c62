"""AlphaFold's four bands of pLDDT: limits, names, classes of colour."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Band:
    """A range of pLDDT with its name."""

    low: float
    high: float
    name: str
    span: str


BANDS = (
    Band(0, 50, "very low", "below 50"),
    Band(50, 70, "low", "50 to 70"),
    Band(70, 90, "confident", "70 to 90"),
    Band(90, 100, "very high", "90 and above"),
)  # Source: Jumper et al. 2021; AlphaFold Protein Structure Database


def band_of(plddt: np.ndarray) -> np.ndarray:
    """Return the index of the band, 0 (very low) to 3 (very high), of each pLDDT."""
    return np.digitize(np.nan_to_num(plddt), [band.low for band in BANDS[1:]])
