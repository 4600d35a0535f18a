"""The command `plateau`."""
