"""A controller over losses that are there already: a log in, a Timeline out."""
