"""Two simulated sites for the portability study: ``python benchmarks/two_sites.py FOLDER``.

Writes ``FOLDER/a`` and ``FOLDER/b``, BIDS datasets of made-up heads with the lesions that were
put in (derivatives/reference). Site a has 1 mm 3D scans; site b has 2D scans of 4 mm slices
with other contrast, more noise and a stronger bias field.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bids_flairseg.demo.dataset import HeadPlan, make_dataset
from bids_flairseg.demo.lesions import LesionPlan

PLACES = ("periventricular", "deep", "juxtacortical")


def plan(number: int, *, thick: bool, random: np.random.Generator) -> HeadPlan:
    """Plan one head with lesions of its own."""
    lesions = tuple(
        LesionPlan(place, int(random.integers(1, 10)), float(random.uniform(3, 6)))
        for place in PLACES
    )
    return HeadPlan(
        name=f"sub-{number:02d}",
        zooms=(0.9, 0.9, 4.0) if thick else (1.0, 1.0, 1.0),
        shape=(208, 256, 44) if thick else (184, 230, 186),
        axes="LPS" if thick else "RAS",
        tilt=float(random.uniform(-8, 12)),
        size=float(random.uniform(0.88, 0.96)),
        lesions=lesions,
    )


def shift(data: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """Change contrast, noise and bias of an image (X, Y, Z), zero staying zero."""
    top = float(np.percentile(data, 99.5))
    share = np.clip(data / top, 0, None)
    bias = ndimage.zoom(random.uniform(0.75, 1.25, (3, 3, 3)), np.array(data.shape) / 3, order=1)
    bias = bias[tuple(slice(length) for length in data.shape)]
    bias = np.pad(bias, [(0, n - m) for n, m in zip(data.shape, bias.shape, strict=True)], "edge")
    changed = share**1.6 * bias * top
    real, imaginary = (random.normal(0, 0.04 * top, data.shape) for _ in range(2))
    noisy = np.hypot(changed + real, imaginary)  # Rician
    return np.asarray(np.where(data > 0, noisy, 0), dtype=np.float32)


def main() -> None:
    """Write both sites."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--participants", type=int, default=14)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for place, site in enumerate("ab"):
        random = np.random.default_rng((arguments.seed, place))
        numbers = range(1, arguments.participants + 1)
        plans = tuple(plan(number, thick=site == "b", random=random) for number in numbers)
        root = arguments.folder / site
        make_dataset(root, seed=arguments.seed + place, plans=plans)
        rows = "".join(f"{item.name}\tmade-up\t{site}\n" for item in plans)
        (root / "participants.tsv").write_text("participant_id\tdiagnosis\tsite\n" + rows)
        columns = {"diagnosis": {"Description": "None"}, "site": {"Description": "Site"}}
        (root / "participants.json").write_text(json.dumps(columns, indent=2) + "\n")
        for path in root.glob("sub-*/anat/*_FLAIR.nii.gz") if site == "b" else ():
            image = nib.Nifti1Image.from_filename(path)
            data = shift(np.asarray(image.dataobj, dtype=np.float32), random)
            changed = nib.Nifti1Image(np.rint(data).astype(np.int16), image.affine, image.header)
            nib.save(changed, path)


if __name__ == "__main__":
    main()
