"""Replays, simulates and measures losses under a curriculum, before a GPU is touched."""
