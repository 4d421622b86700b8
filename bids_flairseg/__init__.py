"""BIDS App that segments and measures hyperintense brain lesions on FLAIR MRI."""

import os
import platform

__version__ = "0.1.0"

# TensorFlow asks this once, when it is loaded. By itself it takes oneDNN's convolutions only where
# the processor has AVX-512. On one with AVX2 alone they made a prediction 2.5 and a training step
# 4.3 times as fast (benchmarks/onednn.py; AMD EPYC, 2 threads).
if platform.machine() in ("x86_64", "AMD64"):
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
