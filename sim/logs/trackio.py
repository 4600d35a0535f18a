"""Trackio's SQLite database, opened read-only: a row a call of `log`, its metrics as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import orjson

from plateau_rule.sim.logs.errors import LogError
from plateau_rule.sim.logs.mlflow import BATCH_ROWS, Database
from plateau_rule.sim.logs.rows import Records, Row, RowBlock, batches
from plateau_rule.sim.logs.series import Wanted


def is_trackio(head: bytes) -> bool:
    """Whether the schema of a SQLite database is Trackio's: its metrics are named by a run, and are JSON."""
    return b"run_name TEXT" in head and b"metrics TEXT" in head


class Trackio(Database):
    """The metrics of one run in a project's database."""

    format = "Trackio database"
    tables = frozenset({"metrics"})
    writer = "Trackio"
    counts_calls = True

    def _choose_run(self, wanted: Wanted) -> str:
        sql = "SELECT run_name, count(*) FROM metrics GROUP BY run_name ORDER BY min(id) LIMIT 10000"
        runs = [(str(run), count) for run, count in self._query(sql)]
        listing = [f"run {name!r} ({count} rows)" for name, count in runs]
        if not runs:
            raise LogError(self.name, "no run in this Trackio database", remedy="Name one that holds a run")
        if wanted.run is not None:
            asked = [run for run, _ in runs if run == wanted.run] or [run for run, _ in runs if wanted.run in run]
            if len(asked) == 1:
                return asked[0]
            what = f"{len(asked)} runs match" if asked else "no run"
            raise LogError(
                self.name, f"{what} {wanted.run!r}; there is:", remedy="Choose one with --run", choices=listing
            )
        if len(runs) > 1:
            raise LogError(self.name, f"{len(runs)} runs:", remedy="Choose one with --run", choices=listing)
        return runs[0][0]

    def blocks(self) -> Iterator[RowBlock]:
        """A row a call, in the order in which they were made."""
        dropped: Counter[str] = Counter()
        for batch in batches(self._rows(dropped), BATCH_ROWS):
            yield RowBlock(len(batch), Records(batch), 0, dropped.copy())
            dropped.clear()
        yield RowBlock(0, Records([]), 0, dropped)

    def _rows(self, dropped: Counter[str]) -> Iterator[Row]:
        sql = "SELECT step, metrics FROM metrics WHERE run_name = ? ORDER BY id"
        for step, text in self._query(sql, self.run):
            try:
                row = orjson.loads(str(text))
            except orjson.JSONDecodeError:
                row = None
            if isinstance(row, dict):
                yield {**row, "step": step}
            else:
                dropped["row is no JSON object"] += 1

    def names(self) -> Mapping[str, int]:
        """Nothing: the names stand in the rows."""
        return {}
