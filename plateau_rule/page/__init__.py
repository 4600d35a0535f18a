"""The page of a run: a server on this machine alone, and its static files; what it says comes from `sim` and `controller`."""
