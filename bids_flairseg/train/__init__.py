"""From label maps or labelled scans to weights: synthesis, examples, fit."""
