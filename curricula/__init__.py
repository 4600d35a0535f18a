"""The shipped curriculum files, each one idea; found by bare name."""
