"""From image to image: checks, grids, brain mask, bias field, intensities."""
