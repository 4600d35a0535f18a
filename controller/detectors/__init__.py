"""The detectors behind the guards: each sees the finite values of one metric in one state, O(1) amortised per value."""
