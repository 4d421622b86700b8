"""BIDS App that segments and measures hyperintense brain lesions on FLAIR MRI."""

__version__ = "0.1.0"
