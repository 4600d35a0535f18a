"""What a notebook shows of a value instead of its repr: HTML that stands for itself, without a script."""
