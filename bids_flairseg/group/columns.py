"""Meaning of the columns of the tables about agreement."""

from __future__ import annotations

from collections.abc import Mapping

from bids_flairseg.group.compute import GRID_MISMATCH, OK, UNREADABLE
from bids_flairseg.group.sources import MODEL, RATER

MISSING_PREDICTION = "missing_prediction"
MISSING_REFERENCE = "missing_reference"
MISSING_SCAN = "missing_scan"


def _rule_columns(rule: str, words: str) -> dict[str, Mapping[str, object]]:
    return {
        f"detected_{rule}": {"Description": f"Lesions of the reference that were found: {words}"},
        f"missed_{rule}": {"Description": f"Lesions of the reference that were not: not {words}"},
        f"false_{rule}": {"Description": f"Predicted lesions that are none: not {words}"},
        f"lesion_f1_{rule}": {
            "Description": "Harmonic mean of the shares of reference lesions found and of "
            "predicted lesions that are true; 1 if neither mask has a lesion, 0 if one has none"
        },
    }


#: Meaning of the columns that hold numbers.
VALUE_COLUMNS: Mapping[str, Mapping[str, object]] = {
    "dice": {
        "Description": "2 |A and B| / (|A| + |B|) of the voxels on the grid of the FLAIR; "
        "1 if both masks are empty, 0 if one is"
    },
    "jaccard": {"Description": "|A and B| / |A or B|; 1 if both masks are empty"},
    "sensitivity": {"Description": "Share of the reference's voxels that are predicted"},
    "precision": {"Description": "Share of the predicted voxels that are in the reference"},
    "hausdorff95_mm": {
        "Description": "The larger of the two directed 95th centiles of the distance between "
        "surface voxels; n/a if a mask is empty",
        "Units": "mm",
    },
    "surface_distance_mm": {
        "Description": "Average symmetric surface distance; n/a if a mask is empty",
        "Units": "mm",
    },
    "predicted_volume_ml": {"Description": "Volume of the predicted mask", "Units": "mL"},
    "reference_volume_ml": {"Description": "Volume of the reference mask", "Units": "mL"},
    "volume_difference_ml": {"Description": "Predicted minus reference volume", "Units": "mL"},
    "volume_difference_percent": {
        "Description": "The same as a share of the reference; n/a if that is empty",
        "Units": "%",
    },
    "predicted_lesions": {"Description": "Lesions of the prediction, 26-connected"},
    "reference_lesions": {"Description": "Lesions of the reference, 26-connected"},
    **_rule_columns("any", "shares a voxel with the other mask"),
    **_rule_columns("iou10", "paired with a lesion at an intersection over union above 0.1"),
    **_rule_columns("iou50", "paired with a lesion at an intersection over union above 0.5"),
    "panoptic_quality": {
        "Description": "Sum of the intersections over union of the pairs above 0.5, over pairs "
        "plus half of the missed and false lesions; 1 if neither mask has a lesion"
    },
}
#: Meaning of the columns of ``group_agreement.tsv`` that are its own.
AGREEMENT_COLUMNS: Mapping[str, Mapping[str, object]] = {
    "comparison": {
        "Description": "What is compared",
        "Levels": {MODEL: "A model with a rater", RATER: "A rater with another one"},
    },
    "model": {
        "Description": "Whose prediction: the model of this folder, or NAME of -d NAME=PATH; "
        "where raters are compared, the first of them"
    },
    "reference": {
        "Description": "NAME of -d NAME=PATH, where the reference comes from; consensus: what "
        "more than half of the raters marked"
    },
    "rater": {
        "Description": "Who drew it: label of desc- in its name, or the file where several have "
        "the same"
    },
    "status": {
        "Description": "Whether the pair was compared",
        "Levels": {
            OK: "Compared",
            GRID_MISMATCH: "A mask does not lie on the grid of the other",
            UNREADABLE: "One of the masks cannot be read, or is no mask",
            MISSING_PREDICTION: "A reference without a finished scan, or a scan that this model "
            "has not predicted",
            MISSING_REFERENCE: "A finished scan without a reference",
            MISSING_SCAN: "A prediction of another model without a finished scan",
        },
    },
    **VALUE_COLUMNS,
    "reference_file": {"Description": "The reference mask, relative to its folder"},
    "reason": {"Description": "Why there are no numbers"},
}
#: Meaning of the columns of ``group_detection.tsv`` that are its own.
DETECTION_COLUMNS: Mapping[str, Mapping[str, object]] = {
    "model": AGREEMENT_COLUMNS["model"],
    "reference": AGREEMENT_COLUMNS["reference"],
    "rater": AGREEMENT_COLUMNS["rater"],
    "mask": {
        "Description": "Whose lesion",
        "Levels": {"reference": "Of the reference", "predicted": "Of the prediction"},
    },
    "volume_ml": {"Description": "Volume of the lesion", "Units": "mL"},
    "region": {
        "Description": "Region of the lesion, by the same rules for both masks, from the scan's "
        "seg-regions image"
    },
    "best_iou": {"Description": "Largest intersection over union with a lesion of the other mask"},
    "found_any": {"Description": "Shares a voxel with the other mask"},
    "found_iou10": {"Description": "Paired at an intersection over union above 0.1"},
    "found_iou50": {"Description": "Paired at an intersection over union above 0.5"},
}
