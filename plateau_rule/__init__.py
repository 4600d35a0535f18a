"""Training curricula as small TOML state machines: what users import."""

from plateau_rule.controller import *  # noqa: F403
