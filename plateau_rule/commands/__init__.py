"""The command `plateau`: one file a command."""
