"""Reads a curriculum, interprets it against a loss stream, and proves what holds for every one.

Users import its names from `plateau_rule`.
"""
