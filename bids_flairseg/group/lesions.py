"""The lesions of a pair of masks, a column each: a large dataset has millions of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bids_flairseg.measure.detection import NOWHERE, RULES, Detection
from bids_flairseg.measure.regions import REGIONS

REFERENCE, PREDICTED = "reference", "predicted"
#: Columns that say whether a lesion was found, in the order of the bits of `LesionColumns.found`.
FOUND: tuple[str, ...] = tuple(f"found_{rule}" for rule in RULES)


@dataclass(frozen=True, eq=False)
class LesionColumns:
    """Lesions of the reference, then those of the prediction.

    Attributes
    ----------
    references : int
        How many are of the reference.
    volume_ml, best_iou : ndarray of float, shape (n,)
        Volume in ml, and largest intersection over union with a lesion of the other mask.
    region : ndarray of uint8, shape (n,)
        Places in `REGIONS`; 255 where it is unknown.
    found : ndarray of uint8, shape (n,)
        A bit for each of `FOUND`.
    """

    references: int
    volume_ml: NDArray[np.float64]
    best_iou: NDArray[np.float64]
    region: NDArray[np.uint8]
    found: NDArray[np.uint8]

    @classmethod
    def of(cls, detection: Detection) -> LesionColumns:
        """Arrange all lesions of both masks.

        Parameters
        ----------
        detection : Detection
            What was found.

        Returns
        -------
        LesionColumns
            Volumes to 5, overlaps to 4 decimals.
        """
        sides = (detection.reference, detection.predicted)
        bits = [
            sum(side.matched[rule].astype(np.uint8) << bit for bit, rule in enumerate(RULES))
            for side in sides
        ]
        return cls(
            detection.reference.count,
            np.round(np.concatenate([side.volumes_ml for side in sides]), 5),
            np.round(np.concatenate([side.best_iou for side in sides]), 4),
            np.concatenate([side.region for side in sides]),
            np.concatenate([np.asarray(bit, dtype=np.uint8).reshape(-1) for bit in bits]),
        )

    @classmethod
    def from_plain(cls, content: Mapping[str, Any]) -> LesionColumns:
        """Read what `plain` has given; KeyError, TypeError or ValueError if it is not that."""
        return cls(
            int(content["references"]),
            np.array(content["volume_ml"], dtype=np.float64),
            np.array(content["best_iou"], dtype=np.float64),
            np.array(content["region"], dtype=np.uint8),
            np.array(content["found"], dtype=np.uint8),
        )

    def plain(self) -> dict[str, Any]:
        """Return numbers and lists, for JSON."""
        return {
            "references": self.references,
            "volume_ml": self.volume_ml.tolist(),
            "best_iou": self.best_iou.tolist(),
            "region": self.region.tolist(),
            "found": self.found.tolist(),
        }

    def __len__(self) -> int:
        return int(self.volume_ml.size)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of ``group_detection.tsv``."""
        for place in range(len(self)):
            region, bits = int(self.region[place]), int(self.found[place])
            yield {
                "mask": REFERENCE if place < self.references else PREDICTED,
                "volume_ml": float(self.volume_ml[place]),
                "region": None if region == NOWHERE else REGIONS[region],
                "best_iou": float(self.best_iou[place]),
                **{name: bool(bits >> bit & 1) for bit, name in enumerate(FOUND)},
            }

    def side(self, mask: str) -> slice:
        """Return the part that is of one mask, ``reference`` or ``predicted``."""
        cut = self.references
        return slice(cut) if mask == REFERENCE else slice(cut, None)

    def in_region(self, name: str) -> NDArray[np.bool_]:
        """Tell which lesions lie in a region."""
        return np.asarray(self.region == REGIONS.index(name), dtype=bool)
