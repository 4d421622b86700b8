"""Examples that are drawn on the device that trains, each of them once: with JAX only."""
