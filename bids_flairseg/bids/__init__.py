"""Reading a BIDS dataset and naming what is written: queries, paths, sidecars."""
