"""Reads a curriculum and decides, loss by loss, how hard the training is."""
