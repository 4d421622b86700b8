"""Settings of a run, as frozen records that are handed down, never global."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class DatasetConfig:
    """What is read and where results go.

    Labels carry no ``sub-`` or ``ses-`` prefix; empty means all.
    """

    bids_dir: Path
    output_dir: Path
    work_dir: Path
    participant_labels: tuple[str, ...] = ()
    session_labels: tuple[str, ...] = ()
    filter_file: Path | None = None
    derivatives: Mapping[str, Path] = field(default_factory=dict)
    database_dir: Path | None = None
    skip_validation: bool = False


@dataclass(frozen=True)
class ResourceConfig:
    """How much of the machine a run may take."""

    nprocs: int = 1
    omp_nthreads: int = 1
    memory_mb: int | None = None
    device: str = "auto"
    plugin_file: Path | None = None


@dataclass(frozen=True)
class SegmentConfig:
    """Everything that changes the numbers of a scan.

    Parameters
    ----------
    model, anatomy : Path
        Folders of the lesion and of the anatomy bundle.
    threshold : float or None
        Lesion probability from which a voxel is lesion; None takes the bundle's.
    min_lesion_ml : float
        Lesions smaller than this volume in ml are left out.
    n4 : bool
        Correct the bias field with N4 before the resampling.
    flip : bool
        Average the prediction with that of the left-right mirrored image.
    inference : str
        ``brain`` (one pass), ``windows`` (overlapping cubes) or ``auto``
        (one pass where memory allows it).
    """

    model: Path
    anatomy: Path
    threshold: float | None = None
    min_lesion_ml: float = 0.01
    n4: bool = False
    flip: bool = True
    inference: str = "auto"


@dataclass(frozen=True)
class TrainConfig:
    """What a training is asked for.

    Parameters
    ----------
    mode : str
        ``train``, ``finetune`` or ``crossval``.
    recipe : str
        Name of a preset, or path of a TOML file.
    overrides : mapping of str to str
        Single values of the recipe.
    layers : str or None
        Which layers are fine-tuned; None for those of the recipe.
    from_scratch : bool
        Folds of a cross-validation begin with random weights.
    raters : str
        How the masks of several raters become one.
    label_values : tuple of int
        Values that mean lesion; none where masks have one besides 0.
    also : tuple of (Path, Path or None)
        Further datasets and their labels.
    synthetic : Path or None
        Folder of synthetic examples that the recipe's ``synthetic_share`` is taken from.
    cases_with : tuple of (str, str)
        Attributes and values that the cases of the dataset must have; of several values of one
        attribute, any.
    count, fraction : int or None, float or None
        How many participants to train on; None means all.
    repeats : int
        Trainings with other seeds.
    folds, fold : int, int or None
        Parts of a cross-validation, and the one to do, from 1; None means all.
    checkpoint_minutes : float
        Longest time between two checkpoints.
    bundle_name : str or None
        Name of the result; None makes one.
    share_ids : bool
        Participants are named in the card.
    dry_run : bool
        Stop after the check of the cases.
    """

    mode: str
    recipe: str = "default"
    overrides: Mapping[str, str] = field(default_factory=dict)
    layers: str | None = None
    from_scratch: bool = False
    raters: str = "majority"
    label_values: tuple[int, ...] = ()
    also: tuple[tuple[Path, Path | None], ...] = ()
    synthetic: Path | None = None
    cases_with: tuple[tuple[str, str], ...] = ()
    count: int | None = None
    fraction: float | None = None
    repeats: int = 1
    folds: int = 3
    fold: int | None = None
    checkpoint_minutes: float = 10.0
    bundle_name: str | None = None
    share_ids: bool = False
    dry_run: bool = False

    @property
    def begins_with_bundle(self) -> bool:
        """Whether training goes on from a bundle rather than from random weights."""
        return self.mode == "finetune" or (self.mode == "crossval" and not self.from_scratch)


@dataclass(frozen=True)
class RunConfig:
    """One call of the participant level."""

    dataset: DatasetConfig
    resources: ResourceConfig
    segment: SegmentConfig
    train: TrainConfig | None = None
    random_seed: int = 0
    overwrite: bool = False
    clean_workdir: bool = False
    stop_on_first_crash: bool = False
    write_graph: bool = False
    verbosity: int = 0


@dataclass(frozen=True)
class GroupConfig:
    """One call of the group level.

    Parameters
    ----------
    dataset : DatasetConfig
        Its derivatives are references and predictions of other models.
    references : tuple of str
        Names of the derivatives that are references; empty: found out.
    mask_names : Path or None
        TOML file that says how masks are named in the derivatives.
    group_by : tuple of str
        Columns to compare groups by; empty: those that are usual and there.
    local_cases : mapping of str to int
        With how many local cases the model of each derivative was trained.
    margin : float
        By how much less Dice a model is no worse than a rater.
    lesion_map : bool
        Register all scans and draw where lesions lie.
    strict : bool
        Pairs that cannot be compared are an error.
    nprocs : int
        Processes that compare masks.
    random_seed : int
        Seed of the bootstrap.
    """

    dataset: DatasetConfig
    references: tuple[str, ...] = ()
    mask_names: Path | None = None
    group_by: tuple[str, ...] = ()
    local_cases: Mapping[str, int] = field(default_factory=dict)
    margin: float = 0.05
    lesion_map: bool = False
    strict: bool = False
    nprocs: int = 1
    random_seed: int = 0
