"""A curriculum inside somebody else's trainer: hooks only, on one shared base; no decisions.

Each framework is an extra, and is imported in the file of its name alone.
"""
