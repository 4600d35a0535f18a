"""What an edit of a curriculum means, and which small edit mends what `check` finds."""
