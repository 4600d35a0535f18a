"""What holds for every possible loss stream, decided before the first step, with a counterexample where it does not."""
