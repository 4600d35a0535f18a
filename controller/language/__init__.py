"""What a curriculum file may say, how it is read and written, and every fault with its place."""
