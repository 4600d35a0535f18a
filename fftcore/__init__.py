"""A byte-level language model of causal spectral convolutions, trained under a curriculum."""
