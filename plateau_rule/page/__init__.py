"""The page of a run: a server on this machine alone, and its static files. What it says comes from `sim`."""
