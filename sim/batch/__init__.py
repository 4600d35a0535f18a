"""One curriculum in many runs at once: exactly the decisions that a Controller takes in each of them."""

from plateau_rule.sim.batch.decisions import Decisions
from plateau_rule.sim.batch.engine import Batch
from plateau_rule.sim.batch.streams import Replayed, replay_all

__all__ = ["Batch", "Decisions", "Replayed", "replay_all"]
