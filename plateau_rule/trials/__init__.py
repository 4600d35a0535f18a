"""Experiments: the same training under several curricula, at one budget and on the same seeds, and what to make of it.

A cell is one curriculum, one seed and one budget; it leaves a curve. `probe` runs each rung of a ladder as a constant,
`compare` any curricula. Whatever trains is a trainer: `fftcore`, a Python function of a user's, or a command line.
"""
