"""MLflow: a metric of its file store, a run's folder of them, and its SQLite database (mlflow.db, opened read-only)."""

from __future__ import annotations

import re
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from plateau_rule.sim.logs.errors import LogError
from plateau_rule.sim.logs.rows import Reader, Records, Row, RowBlock, batches, merged
from plateau_rule.sim.logs.series import Wanted
from plateau_rule.sim.logs.source import Source

SQLITE_MAGIC = b"SQLite format 3\x00"
BATCH_ROWS = 4000
LARGEST_CELL = 1 << 20
LARGEST = 1.7976931348623157e308  # how MLflow's database keeps infinity
# A metric file: milliseconds since 1970, value, step; newer releases may add the dataset.
_LINE = re.compile(rb"^\d{9,16} [-+.\w]+ \d+( .*)?$")


class MetricFile(Reader):
    """A metric of MLflow's file store; its name is the file's path below `metrics`."""

    format = "MLflow metric"

    def __init__(self, source: Source, name: str | None = None) -> None:
        super().__init__()
        self.source = source
        self.name = name or metric_name(source.path)

    def blocks(self) -> Iterator[RowBlock]:
        """A row a line."""
        line = 1
        for data in self.source.lines():
            rows: list[Row] = []
            dropped: Counter[str] = Counter()
            for text in data.split(b"\n"):
                parts = text.split()
                if len(parts) >= 3:
                    rows.append(
                        {"step": parts[2].decode("ascii", "replace"), self.name: parts[1].decode("ascii", "replace")}
                    )
                elif parts:
                    dropped["line is not time, value and step"] += 1
            yield RowBlock(len(rows), Records(rows), line, dropped)
            line += data.count(b"\n")

    def names(self) -> Mapping[str, int]:
        """The metric, and the step beside it."""
        count = max(1, (self.source.size_bytes or 0) // 40)
        return {"step": count, self.name: count}


def is_metric_file(head: bytes) -> bool:
    """Whether most of the first lines are time, value and step."""
    lines = [line.strip() for line in head.split(b"\n")[:20] if line.strip()]
    if len(lines) > 1:
        lines = lines[:-1]
    return bool(lines and _LINE.match(lines[0])) and 2 * sum(bool(_LINE.match(line)) for line in lines) > len(lines)


def metric_name(path: Path) -> str:
    """The metric that a file of the store holds: `metrics/train/loss` holds `train/loss`; elsewhere it is a `value`."""
    parts = path.parts
    return "/".join(parts[len(parts) - parts[::-1].index("metrics") :]) if "metrics" in parts[:-1] else "value"


class Database(Reader):
    """The metrics of one run in `mlflow.db`.

    Raises:
        LogError: it is damaged, holds no metrics, or several runs and none was chosen.
    """

    format = "MLflow database"
    tables = frozenset({"metrics", "runs"})
    writer = "MLflow"

    def __init__(self, source: Source, wanted: Wanted) -> None:
        super().__init__()
        self.name = source.name
        with ExitStack() as opened:  # closes all if anything goes wrong
            path = source.path
            if source.packed or source.size_bytes is None:
                path = self._unpack(source, opened)
            self.connection = self._connect(path, opened)
            self.run = self._choose_run(wanted)
            self._opened = opened.pop_all()

    def _unpack(self, source: Source, opened: ExitStack) -> Path:
        """SQLite needs a file to seek in."""
        path = Path(opened.enter_context(tempfile.TemporaryDirectory())) / "mlflow.db"
        with path.open("wb") as file:
            while data := source.read():
                file.write(data)
        return path

    def _connect(self, path: Path, opened: ExitStack) -> sqlite3.Connection:
        """Open the file so that nothing can be written, and nothing in its schema can run."""
        try:
            connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
            opened.callback(connection.close)
            connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST_CELL)
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("PRAGMA cell_size_check = ON")
            tables = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'"))
        except sqlite3.Error as error:
            raise LogError(
                self.name, f"this SQLite database cannot be read: {error}", remedy="Try a copy of it"
            ) from None
        if not self.tables <= tables.keys() or "VIRTUAL" in str(tables["metrics"]).upper():
            raise LogError(
                self.name,
                f"a SQLite database without MLflow's tables (it has: {', '.join(map(str, tables)) or 'none'})",
                "the tables metrics and runs",
                "Name the database of MLflow's tracking store",
            )
        return connection

    def _query(self, sql: str, *values: str) -> Iterator[tuple[object, ...]]:
        try:
            yield from self.connection.execute(sql, values)
        except (sqlite3.Error, OverflowError, UnicodeDecodeError) as error:
            raise LogError(
                self.name, f"{self.writer}'s tables cannot be read: {error}", remedy="Try a copy of it"
            ) from None

    def _choose_run(self, wanted: Wanted) -> str:
        count = "SELECT count(*) FROM metrics m WHERE m.run_uuid = r.run_uuid"
        sql = f"SELECT run_uuid, name, ({count}) FROM runs r LIMIT 10000"
        runs = [(str(run), str(name), points) for run, name, points in self._query(sql) if points]
        listing = [f"run {name!r}, id {run} ({points} values)" for run, name, points in runs]
        if not runs:
            raise LogError(self.name, "no run in this MLflow database has metrics", remedy="Name one that holds a run")
        if wanted.run is not None:
            runs = [each for each in runs if wanted.run in each[:2]] or [
                each for each in runs if each[0].startswith(wanted.run)
            ]
            if not runs:
                raise LogError(
                    self.name, f"no run {wanted.run!r}; there is:", remedy="Choose one with --run", choices=listing
                )
        if len(runs) > 1:
            raise LogError(
                self.name, f"{len(listing)} runs:", remedy="Choose one with --run and its name or id", choices=listing
            )
        return runs[0][0]

    def blocks(self) -> Iterator[RowBlock]:
        """A row a step, in the order in which the values were logged."""
        sql = "SELECT step, key, value, is_nan FROM metrics WHERE run_uuid = ? ORDER BY rowid"
        rows = merged(self._values(sql))
        for batch in batches(rows, BATCH_ROWS):
            yield RowBlock(len(batch), Records(batch))

    def names(self) -> Mapping[str, int]:
        """The metrics of the run."""
        sql = "SELECT key, count(*) FROM metrics WHERE run_uuid = ? GROUP BY key LIMIT 1000"
        counts = {str(key): count for key, count in self._query(sql, self.run) if isinstance(count, int)}
        return {"step": sum(counts.values()), **counts}

    def close(self) -> None:
        """Close the database, and throw an unpacked copy away."""
        self._opened.close()

    def _values(self, sql: str) -> Iterator[tuple[int, str, object]]:
        for step, key, value, is_nan in self._query(sql, self.run):
            if is_nan:
                value = float("nan")
            elif isinstance(value, float) and abs(value) >= LARGEST:
                value = value * 2
            yield step, str(key), value  # type: ignore[misc]  # a step of another type is found out with the others
