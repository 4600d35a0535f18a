"""The loop: take a step, observe, apply the plan, save."""

from __future__ import annotations

import json
import signal
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from plateau_rule.controller.controller import Controller
from plateau_rule.controller.errors import NonFiniteLoss
from plateau_rule.controller.plan import Decision, Plan
from plateau_rule.fftcore.checkpoint import STATE, Commit
from plateau_rule.fftcore.config import TARGET
from plateau_rule.fftcore.data import Text
from plateau_rule.fftcore.errors import CheckpointError
from plateau_rule.fftcore.knobs import target_of
from plateau_rule.fftcore.learner import Learner
from plateau_rule.fftcore.progress import Progress, in_units
from plateau_rule.fftcore.record import Record
from plateau_rule.fftcore.saving import Saving
from plateau_rule.fftcore.signals import Caught
from plateau_rule.fftcore.state import state_of
from plateau_rule.fftcore.storage import AppendLog, Disk
from plateau_rule.sim.run_files import DECISIONS, METRICS
from plateau_rule.sim.run_folder import decision_row, one_line, plan_row, spelled
from plateau_rule.sim.trackers import Tracks

LOGS = (METRICS, DECISIONS)


class Stats:
    """What one optimizer step brought, perhaps still on its way from the device.

    Args:
        values: loss, chunk loss, the gradient's norm, whether the step was skipped: (4,), on the device.
    """

    def __init__(self, values: Tensor) -> None:
        self._values, self._ready = values, None
        if values.device.type == "cuda":  # copied as soon as it is there: no later kernel is waited for
            self._values = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            self._values.copy_(values, non_blocking=True)
            self._ready = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._ready.record()

    def read(self) -> tuple[float, float, float, bool]:
        """Wait for the numbers and return them."""
        if self._ready is not None:
            self._ready.synchronize()
        loss, chunk_loss, norm, skipped = self._values.tolist()
        return loss, chunk_loss, norm, bool(skipped)


@dataclass
class Late:
    """A loss on its way to the controller: first on the device, then known and written down, then observed."""

    plan: Plan
    row: dict[str, Any]
    stats: Stats | None
    trained_bytes: int = 0
    loss: float = 0.0
    skipped: bool = False


class Training:
    """One run in its folder.

    Args:
        record: what the run is.
        controller: bound to it.
        learner: what is trained.
        folder: the run's, made already.
        show: what is said meanwhile.
        saving: makes its commits.
        text: that it is trained on.
        disk: what writes.

    Attributes:
        tracks: the trackers that are told, if any are; on the rank that writes.
    """

    def __init__(
        self,
        record: Record,
        controller: Controller,
        learner: Learner,
        folder: Path,
        show: Progress,
        saving: Saving,
        text: Text,
        disk: Disk,
    ) -> None:
        self.record, self.controller, self.learner, self.folder = record, controller, learner, folder
        self.show, self.saving, self.text, self.disk = show, saving, text, disk
        self.world = learner.world
        learner.target = target_of(controller.machine)
        self.told = 0
        self._due = False
        self._late: deque[Late] = deque()
        self._finite = True
        self._logs: list[AppendLog] = []
        self.tracks: Tracks | None = None
        # Of the plan's requests, how many are answered, and what they brought.
        self._answered = 0
        self._scores: dict[str, float] = {}

    # Beginning and saving

    def begin(self) -> None:
        """Begin at step 0, with a commit, so that there is always one to go back to."""
        if self.world.writes:
            self._logs = [self.disk.open_log(self.folder / name) for name in LOGS]
        self._cut_logs()
        self.learner.begin(self.controller.plan.knobs)
        self.save()
        self.saving.wait()  # before a row is written: rows without a commit would be those of one that was lost

    def resume(self, commit: Commit, on_change: str) -> None:
        """Go on where a commit was made; the logs are cut back to it.

        Raises:
            CheckpointError: the commit is not what this run could have saved.
            StorageError: a log does not begin as it was written.
            SnapshotError: the curriculum was edited since, and `on_change` is "refuse".
        """
        state = state_of(commit)
        if state.step != commit.step or state.logs.keys() != set(LOGS):
            raise CheckpointError(f"{commit.path}: {STATE} cannot be read: it is not of this step and these logs")
        for line in self.controller.load_state_dict(state.controller, on_change=on_change):
            self.show.say(line)
        late, asked = min(self.record.bound.lag, commit.step), len(self.controller.plan.requests)
        if len(state.late) != late or state.answered > asked or (state.scores and not state.answered):
            raise CheckpointError(
                f"{commit.path}: {STATE} cannot be read: it is not what a run holds between two steps"
            )
        self.learner.restore(commit)
        self.learner.turn(self.controller.plan.knobs)
        for name, log in state.logs.items() if self.world.writes else ():  # both are verified before one is cut
            self._logs.append(self.disk.open_log(self.folder / name, log.bytes, log.sha256))
        self._logs.sort(key=lambda log: LOGS.index(log.path.name))
        for loss, skipped in state.late:
            self._late.append(Late(self.controller.plan, {}, None, 0, loss, skipped))
        self._cut_logs()
        self.saving.saved, self._answered, self._scores = commit.step, state.answered, dict(state.scores)
        self.show.say(f"resumed at step {commit.step} from {commit.path}")

    def _cut_logs(self) -> None:
        for log in self._logs:
            log.cut()

    def save(self) -> None:
        """Begin to commit everything as it is between two steps; not while the losses are not finite.

        It is copied here, and packed and written while the next steps are taken.

        Raises:
            StorageError: the disk refused a log, or the commit before.
            TextError: the text was changed.
        """
        step = self.controller.plan.step
        self.saving.wait()
        for late in self._late:
            self._settle(late)
        self.look_at_text()
        if not self._finite:
            self.show.say(f"step {step}: not saved while the loss is not finite; the last checkpoint stays")
            return
        if self.world.size > 1:
            state_in_words = json.dumps([self.controller.state_dict(), self._answered, self._scores])
            self.world.require_same_state(step, self.learner.weights_sum(), state_in_words)
        if self.saving.saved == step or not self.world.writes:
            return
        for log in self._logs:
            log.sync()
        if self.tracks is not None:
            self.tracks.flush()
        state = {
            "step": step,
            "run": self.record.identity(),
            "record": self.record.version(),
            "controller": self.controller.state_dict(),
            "late": [[spelled(late.loss), late.skipped] for late in self._late],
            "logs": {log.path.name: {"bytes": log.size, "sha256": log.sha256} for log in self._logs},
            "answered": self._answered,
            "scores": {name: spelled(score) for name, score in self._scores.items()},
        }
        told, tensors = json.dumps(state, indent=1, allow_nan=False).encode(), self.learner.copied()
        self.saving.begin(step, lambda: {STATE: told, **tensors.packed()})

    def look_at_text(self) -> None:
        """Say it if the text was changed since it was read.

        Raises:
            TextError: it was, and it is not in memory: from the last commit on, the run may not be what it says it is.
        """
        if warning := self.text.warning():
            self.show.say(warning)

    def close(self) -> None:
        """Wait for what is being written, and give the logs back."""
        self.saving.close()
        for log_file in self._logs:
            log_file.close()
        if self.tracks is not None:
            self.tracks.close()

    # The loop

    def run(self, caught: Caught) -> None:
        """Train until the plan says stop, or a signal was caught; save in both cases, durably when this returns.

        Raises:
            NonFiniteLoss: too many losses in a row were not finite; the last commit is of a finite state.
            LeakError: the model sees what it is asked to predict.
            StorageError: the disk refused.
        """
        while (plan := self._agreed(caught)).stop is None:
            self.saving.look()
            # Before anything is saved or left, so that a step's commit is the same in an interrupted run.
            self._answer(plan)
            if self._is_told(caught):
                break
            if self._due if self.world.size > 1 else self.saving.due(plan.step):
                self.save()
            self.learner.turn(plan.knobs)
            scores = self._scores
            stats = Stats(self.learner.step(plan.step, plan.lr))
            if (plan.step + 1) % self.record.bound.steps_per_epoch == 0:
                scores = self.world.share_scores(self.learner.score)
            self._late.append(Late(plan, plan_row(plan) | scores, stats, self.learner.bytes_per_step))
            self._answered, self._scores = 0, {}
            if decision := self._observe(plan, scores):
                self._decided(decision)
        self._turn_at_the_end(plan)
        self.save()
        self.saving.wait()
        self.world.part()

    def _agreed(self, caught: Caught) -> Plan:
        """Return the plan, on which all ranks have agreed, and on whether they are told to end and when to save."""
        plan = self.controller.plan
        if self.world.size > 1:
            due = self.world.writes and plan.stop is None and self.saving.due(plan.step)
            told, now = self.world.agree(plan.step, repr(plan), [self._told_here(caught), int(due)])
            self.told, self._due = told, bool(now)
        return plan

    def _is_told(self, caught: Caught) -> bool:
        if self.world.size == 1:
            self.told = self._told_here(caught)
        return bool(self.told)

    def _told_here(self, caught: Caught) -> int:
        """Return the number of the signal that tells this process to end, that of a lost output among them; else 0."""
        return caught.signal or (signal.SIGPIPE if self.show.lost is not None else 0)

    def _turn_at_the_end(self, plan: Plan) -> None:
        """Put the plan's knobs in force, which the last step may have changed: the run is scored under these."""
        before = self.learner.knobs
        self.learner.turn(plan.knobs)
        if plan.stop is not None and self.learner.knobs != before:
            told = ", ".join(f"{name} {in_units(name, value)}" for name, value in plan.knobs.items())
            self.show.say(f"raised after the last step: scored at {told}, under which no step was taken")

    def _observe(self, plan: Plan, scores: Mapping[str, float]) -> Decision | None:
        """Show the controller the loss that is due; under a lag, that of an earlier step."""
        loss, skipped = None, False
        if len(self._late) > self.record.bound.lag:
            late = self._late.popleft()
            self._settle(late)
            loss, skipped = late.loss, late.skipped
        if scores:
            aimed = f", {scores[TARGET]:.4f} at the target" if TARGET in scores else ""
            self.show.say(
                f"step {plan.step + 1}, end of epoch {plan.epoch}: validation {scores['val_bpb']:.4f} bits/byte "
                f"as a stream, {scores['val_bpb_parallel']:.4f} in parallel{aimed}"
            )
        try:
            metrics: dict[str, Any] = dict(scores)
            decision = self.controller.observe(loss, eval_end=bool(scores), step=plan.step, skipped=skipped, **metrics)
        except NonFiniteLoss as error:
            for late in self._late:
                self._settle(late)
            self.saving.close()
            saved, folder = self.saving.saved, self.saving.checkpoints.folder
            last = "there is none" if saved is None else f"it is of step {saved}, {folder}"
            last = self.world.share(last.encode()).decode()
            raise NonFiniteLoss(f"{error}. The last checkpoint of a finite state: {last}") from None
        if self.tracks is not None:
            self.tracks.meters(decision)
        return decision

    def _settle(self, late: Late) -> None:
        """Wait for a loss that is still on the device, and write its row down."""
        if late.stats is None:
            return
        own_loss, own_chunk_loss, norm, late.skipped = late.stats.read()
        losses = self.world.mean_loss(late.plan.step, (own_loss, own_chunk_loss), norm, self.show.say)
        loss, chunk_loss = losses
        late.stats, late.loss = None, loss
        self._finite = isfinite(loss)
        row = late.row | {"loss": loss, "chunk_loss": chunk_loss, "grad_norm": norm}
        if late.skipped:
            row["skipped"] = True
        self._write(METRICS, row)
        if self.tracks is not None:
            self.tracks.row(row)
        self.show.step(late.plan, row, late.trained_bytes, self.controller.explain)

    def _decided(self, decision: Decision) -> None:
        self._write(DECISIONS, decision_row(decision, self.controller.plan.requests))
        if self.tracks is not None:
            self.tracks.decision(decision, self.controller.plan.requests)
        self.show.decided(decision)

    def _write(self, log: str, row: Mapping[str, Any]) -> None:
        """Add a row to a log, on the rank that writes."""
        if self._logs:
            self._logs[LOGS.index(log)].write(one_line(row))

    def _answer(self, plan: Plan) -> None:
        """Do what the plan asks for before its step, but for what was done before the commit that is gone on from."""
        for request in plan.requests[self._answered :]:
            self.show.say(f"step {plan.step}: the curriculum asks for {request}")
            self._answered += 1  # a commit that is asked for counts itself
            if request.name == "checkpoint":
                self.save()
            elif request.name == "evaluate":
                self.learner.turn(plan.knobs)
                self._scores = self.world.share_scores(self.learner.score)
            elif request.name == "rollback":
                self._roll_back(plan.step)
            elif request.name == "reset_optimizer":
                self.learner.forget()

    def _roll_back(self, step: int) -> None:
        """Weights and moments of the newest commit made by plan before a step; all else goes on."""
        self.saving.wait()
        checkpoints = self.saving.checkpoints
        commit = self.world.share_commit(checkpoints.newest(planned_before=step) if self.world.writes else None)
        for line in checkpoints.passed_over:
            self.show.say(f"passed over: {line}")
        if commit is None:
            self.show.say("there is no checkpoint to roll back to; the weights stay")
            return
        self.learner.restore(commit, random=False)
        self.show.say(f"weights and optimizer are those of {commit.path.name} again")
