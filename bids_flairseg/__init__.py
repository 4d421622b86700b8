"""BIDS App that segments and measures hyperintense brain lesions on FLAIR MRI."""

import os
import platform

__version__ = "0.1.0"

# TensorFlow asks this once, when it is loaded. By itself it takes oneDNN's convolutions only where
# the processor has AVX-512; on one with AVX2 alone a prediction takes half the time with them, and
# a step of training less than a third (benchmarks/onednn.py).
if platform.machine() in ("x86_64", "AMD64"):
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
