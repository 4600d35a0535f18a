"""TensorBoard: event files in FOLDER/NAME, written by TensorBoard's own writer; torch and TensorFlow are not needed."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.plugins.text.plugin_data_pb2 import TextPluginData
from tensorboard.summary.writer.event_file_writer import EventFileWriter

from plateau_rule.sim.trackers.tracker import Tracker

TEXT = SummaryMetadata(
    plugin_data=SummaryMetadata.PluginData(plugin_name="text", content=TextPluginData(version=0).SerializeToString())
)
DECISIONS = "plateau/decisions"


class TensorBoardTracker(Tracker):
    """Scalars, and decisions under the tab Text.

    Args:
        folder: of the run.
        step: where it begins or goes on. TensorBoard then leaves out what a killed process wrote from there on.
    """

    def __init__(self, folder: Path, step: int) -> None:
        self._writer = EventFileWriter(str(folder))
        # The first start of a run is none that anything is left out for, so it has to be there.
        self._add(step, session_log=SessionLog(status=SessionLog.START))

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Each as a scalar."""
        points = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._add(step, summary=Summary(value=points))

    def event(self, step: int, title: str, text: str) -> None:
        """As text, which TensorBoard reads as Markdown."""
        said = f"**{title}**\n\n" + "".join(f"    {line}\n" for line in text.splitlines())
        tensor = TensorProto(
            dtype=DT_STRING,
            string_val=[said.encode()],
            tensor_shape=TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)]),
        )
        self._add(step, summary=Summary(value=[Summary.Value(tag=DECISIONS, metadata=TEXT, tensor=tensor)]))

    def flush(self) -> None:
        """Write to disk what waits."""
        self._writer.flush()

    def close(self) -> None:
        """Write to disk what waits, and close the file."""
        self._writer.close()

    def _add(self, step: int, **what: Summary | SessionLog) -> None:
        self._writer.add_event(Event(wall_time=time.time(), step=step, **what))


def open_tracker(place: str, name: str, step: int) -> TensorBoardTracker:
    """A run of this name below a folder: where it begins, a folder of its own; where it goes on, the newest one."""
    parent = Path(place)
    pattern = re.compile(rf"{re.escape(name)}(?:-(\d+))?")
    present = [pattern.fullmatch(path.name) for path in (parent.iterdir() if parent.is_dir() else ())]
    newest = max((int(match[1] or 1) for match in present if match), default=0)
    number = max(newest, 1) if step else newest + 1
    return TensorBoardTracker(parent / (name if number == 1 else f"{name}-{number}"), step)
