"""One curriculum in many runs at once: exactly the decisions that a Controller takes in each of them."""

from sim.batch.decisions import Decisions
from sim.batch.engine import Batch
from sim.batch.streams import Replayed, replay_all

__all__ = ["Batch", "Decisions", "Replayed", "replay_all"]
