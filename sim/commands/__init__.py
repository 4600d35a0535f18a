"""The commands of this room; each imports what it needs when it is called, so that help comes at once."""
