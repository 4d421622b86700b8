"""Run the command as ``python -m bids_flairseg``."""

from __future__ import annotations

import sys

from bids_flairseg.cli import main

if __name__ == "__main__":
    sys.exit(main())
