"""How Nipype is set up: no network, no surprises with time stamps, readable crash files."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nipype import config

from bids_flairseg.config import ResourceConfig
from bids_flairseg.errors import UsageError
from bids_flairseg.limits import memory_limit

POLL_S, POLL_PER_SCAN_S = 0.05, 0.0005


def configure_nipype(
    crash_folder: Path, *, scans: int = 1, stop_on_first_crash: bool = False
) -> None:
    """Set Nipype's options, which are global to the process.

    Parameters
    ----------
    crash_folder : Path
        Where crash files go.
    scans : int
        Scans of the run: looking for what is ready takes the longer, the more there are.
    stop_on_first_crash : bool
        End the run when a step fails.
    """
    config.update_config(
        {
            "execution": {
                "check_version": "false",
                "crashdump_dir": str(crash_folder),
                "crashfile_format": "txt",
                "create_report": "false",
                "hash_method": "content",  # copies and check-outs change times, not contents
                "poll_sleep_duration": str(POLL_S + scans * POLL_PER_SCAN_S),
                "remove_unnecessary_outputs": "false",
                "stop_on_first_crash": str(stop_on_first_crash).lower(),
            }
        }
    )
    # Its messages go where the log goes, and not to standard output.
    logging.getLogger("nipype").handlers.clear()


def read_plugin_file(path: Path) -> tuple[str, dict[str, Any]]:
    """Read which Nipype plugin the user wants.

    Parameters
    ----------
    path : Path
        YAML or JSON with the keys ``plugin`` and ``plugin_args``, as fMRIPrep takes it.

    Returns
    -------
    str
        Name of the plugin.
    dict
        Its arguments.

    Raises
    ------
    UsageError
        The file cannot be read, or has no such keys.
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))  # reads JSON as well
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UsageError(
            f"{path}: expected YAML or JSON, but it cannot be read ({error})."
        ) from error
    arguments = content.get("plugin_args") or {} if isinstance(content, Mapping) else None
    if not isinstance(arguments, Mapping) or not isinstance(content.get("plugin"), str):
        raise UsageError(
            f"{path}: expected the keys 'plugin' and 'plugin_args', found {_summary(content)}. "
            'An example: {"plugin": "Linear", "plugin_args": {}}.'
        )
    return content["plugin"], dict(arguments)


def _summary(content: Any) -> str:
    return json.dumps(content, default=str)[:80]


def memory_gb(resources: ResourceConfig) -> float:
    """Return how much memory all steps together may take, in GB (10^9 bytes).

    Parameters
    ----------
    resources : ResourceConfig
        With ``memory_mb``, or None for 90 % of the machine's, or of what the container or
        the batch job may take.

    Returns
    -------
    float
        GB.
    """
    if resources.memory_mb is not None:
        return resources.memory_mb / 1000
    import psutil

    return 0.9 * min(float(psutil.virtual_memory().total), memory_limit()) / 1e9
