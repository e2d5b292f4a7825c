"""The digits pipeline once round the whole loop, through Airflow, with real digits."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path

from rich.console import Console
from rich.table import Table

from local import traffic
from local.airflow_api import Airflow
from local.environment import Local, LocalError
from local.services import Services
from pipeline_tasks import config
from pipeline_tasks.core import clock
from pipeline_tasks.core.store import RETRAINING, store_at, write_text
from pipeline_tasks.core.values import Answer, Champion, HistoryEntry, MonitoringRecord
from pipeline_tasks.serving.client import Client

NAME = traffic.PIPELINE
COPIES = 2
UNKNOWN_BELOW = 0.7
DEGREES = (30.0, -30.0, 60.0, -60.0, 90.0, -90.0)
RETRAIN_SECONDS = 300
STYLES = {"success": "green", "failed": "red", "upstream_failed": "red", "running": "cyan"}
STYLES |= {"skipped": "magenta", "up_for_retry": "yellow"}


@dataclass
class Outcome:
    """What the demo measured; written to demo.json."""

    accuracy_before: float = float("nan")
    accuracy_after: float = float("nan")
    champion_before: int = 0
    champion_after: int = 0
    failed_requests: int = 0
    requests_during_the_loop: int = 0
    seconds_to_recovery: float = float("nan")
    retrain_reasons: list[str] = field(default_factory=list)
    drift_degrees: float = 0.0
    wall_seconds: float = 0.0
    broken_link: str = ""


def demo(services: Services, console: Console) -> int:
    """Go round the loop, print a summary, write demo.json; 1 when a link broke."""
    outcome = Outcome()
    began = time.monotonic()
    try:
        _Loop(services.local, console, outcome).go()
    except LocalError as error:
        outcome.broken_link = str(error)
    outcome.wall_seconds = round(time.monotonic() - began, 1)
    path = services.local.home / "demo.json"
    write_text(path, json.dumps(asdict(outcome), indent=1) + "\n")
    _print_summary(outcome, path, console)
    return 1 if outcome.broken_link else 0


class _Loop:
    """One trip; each method is a link, and raises LocalError when it is broken."""

    def __init__(self, local: Local, console: Console, outcome: Outcome) -> None:
        self._console, self._outcome = console, outcome
        self._airflow = Airflow(local)
        self._client = Client(local.server)
        self._local = local
        self._store = store_at(local.environment()["PERENNIAL_STORE"], local.home)
        self._world = traffic.World(
            local.home / "demo-world.json", seed=len(self._store.history(NAME))
        )
        self._pools = traffic.pools()

    def go(self) -> None:
        """Train, serve, drift, notice, retrain, recover."""
        for dag in ("train", "monitor", "retrain", "rollback"):
            self._airflow.wait_for_dag(f"{NAME}__{dag}")
        self._train()
        self._world.champion = self._outcome.champion_before
        self._healthy_traffic()
        self._wait_out_the_cooldown()
        self._choose_a_drift()
        drifted = self._turn(self._pools.drifted, COPIES)
        judged = self._turn(self._pools.fresh, 2)
        self._outcome.drift_degrees = self._world.next_degrees
        with traffic.Stream(self._local.server, drifted) as stream:
            self._drift(drifted, judged)
            self._recover(judged, began=self._drift_began)
        self._outcome.requests_during_the_loop = stream.sent
        self._outcome.failed_requests = len(stream.failures)
        self._say(f"{stream.sent} requests flowed meanwhile, {len(stream.failures)} failed")
        _expect(not stream.failures, f"requests failed during the swap: {stream.failures[:3]}")
        self._watches_again()

    def _train(self) -> None:
        self._title("Train a first model, or find that the champion is still the best")
        run = self._airflow.trigger(f"{NAME}__train", reason="make demo")
        state = self._airflow.follow(f"{NAME}__train", run, self._show)
        _expect(state == "success", f"{NAME}__train ended as {state}")
        champion = self._champion()
        self._outcome.champion_before = champion.version
        self._say(f"version {champion.version} is served")

    def _healthy_traffic(self) -> None:
        self._title("Real held-out digits, as a client sends them")
        found = traffic.turned(
            self._pools.healthy, degrees=self._world.degrees, copies=1, seed=self._world.seed
        )
        since = clock.text(clock.now())
        truth = traffic.send(self._client, found)
        self._client.label(NAME, truth)
        record = self._monitor(since, len(truth))
        self._show_verdict(record, "healthy")
        _expect(record.verdict.answer is Answer.NO, f"monitor is not healthy: {record.verdict}")

    def _drift(self, drifted: traffic.Digits, judged: traffic.Digits) -> None:
        self._title(f"The world turns: digits rotated by {self._world.next_degrees:g}° and noisy")
        self._drift_began = time.monotonic()
        since = clock.text(clock.now())
        share, version = traffic.accuracy(self._client, judged)
        self._outcome.accuracy_before = round(share, 4)
        self._say(f"version {version} is right on {share:.1%} of fresh drifted digits")
        self._world.turn()
        half = len(drifted) // 2
        truth = traffic.send(self._client, drifted.part(slice(None, half)))
        self._say(f"sent {half} drifted digits; nobody has said yet what they show")
        self._show_verdict(self._monitor(since, half), "healthy")
        since = clock.text(clock.now())
        truth |= traffic.send(self._client, drifted.part(slice(half, None)))
        self._client.label(NAME, truth)
        self._say(f"sent {len(drifted) - half} more; the true labels of all have arrived")
        record = self._monitor(since, len(drifted) - half)
        self._show_verdict(record, "degraded")
        _expect(record.verdict.is_yes, f"monitor did not notice: {record.verdict}")
        _expect("drift" in record.causes, f"monitor saw no drift: {record.verdict}")
        self._alarm = record

    def _recover(self, judged: traffic.Digits, *, began: float) -> None:
        self._title(f"{NAME}__retrain notices by itself")
        self._wait(lambda: self._decision() is not None, "a decision")
        decision = self._decision()
        _expect(
            decision is not None and decision.answer is Answer.YES,
            f"decided not to retrain: {decision and '; '.join(decision.reasons)}",
        )
        assert decision is not None
        self._outcome.retrain_reasons = list(decision.reasons)
        self._say("decided to retrain: " + "; ".join(decision.reasons))
        self._decided_by = decision.run
        run = f"retrain__{self._alarm.episode}"
        self._wait(lambda: self._airflow.state(f"{NAME}__train", run) is not None, run)
        state = self._airflow.follow(f"{NAME}__train", run, self._show)
        _expect(state == "success", f"{NAME}__train ended as {state}")
        share, version = traffic.accuracy(self._client, judged)
        self._outcome.seconds_to_recovery = round(time.monotonic() - began, 1)
        self._outcome.accuracy_after = round(share, 4)
        self._outcome.champion_after = self._champion().version
        _expect(
            version == self._outcome.champion_after > self._outcome.champion_before,
            f"version {version} answers; the new model was not promoted: "
            + "; ".join(self._store.history(NAME)[-1].reasons),
        )
        self._say(f"version {version} is right on {share:.1%} of fresh drifted digits")
        _expect(
            share > self._outcome.accuracy_before, "the new model is no better on drifted digits"
        )

    def _watches_again(self) -> None:
        run = f"{NAME}__retrain"
        self._wait(
            lambda: self._airflow.running(run) not in ("", self._decided_by),
            f"{run} to watch again",
        )
        self._say(f"{run} watches again")

    def _choose_a_drift(self) -> None:
        """A rotation that the champion does not know yet: earlier demos have taught it some."""
        for degrees in DEGREES:
            found = traffic.turned(self._pools.fresh, degrees=degrees, copies=1, seed=0)
            if traffic.accuracy(self._client, found)[0] < UNKNOWN_BELOW:
                self._world.next_degrees = degrees
                return
        raise LocalError(
            "the champion knows every rotation the demo can make; "
            "start afresh with another PERENNIAL_HOME"
        )

    def _turn(self, found: traffic.Digits, copies: int) -> traffic.Digits:
        degrees = self._world.next_degrees
        return traffic.turned(found, degrees=degrees, copies=copies, seed=self._world.seed + copies)

    def _monitor(self, since: str, rows: int) -> MonitoringRecord:
        """Run the monitor DAG; a scheduled run may have looked first, so its record counts too."""
        self._wait(lambda: self._logged(since) >= rows, "the prediction log")
        run = self._airflow.trigger(f"{NAME}__monitor")
        state = self._airflow.follow(f"{NAME}__monitor", run, self._show)
        _expect(state == "success", f"{NAME}__monitor ended as {state}")
        found = [one for one in self._store.monitoring(NAME) if one.at > since]
        judged = [one for one in found if one.verdict.answer is not Answer.NOT_ENOUGH_DATA]
        return (judged or found)[-1]

    def _logged(self, since: str) -> int:
        from pipeline_tasks import observations

        return sum(1 for _ in observations.predictions(self._store.observations(NAME), since=since))

    def _wait_out_the_cooldown(self) -> None:
        """Two retrainings keep a distance, so a demo right after another one has to wait."""
        retrained = [entry for entry in self._decisions() if entry.answer is Answer.YES]
        if not retrained:
            return
        minutes = config.named(NAME).retraining.cooldown_minutes
        end = clock.parse(retrained[-1].at) + timedelta(minutes=minutes)
        seconds = (end - clock.now()).total_seconds()
        if seconds > 0:
            self._say(f"the last retraining's cool-down is over in {seconds:.0f} s; waiting")
            time.sleep(seconds)

    def _decision(self) -> HistoryEntry | None:
        """What was decided on the alarm that this demo raised."""
        found = [entry for entry in self._decisions() if entry.episode == self._alarm.episode]
        return found[-1] if found else None

    def _decisions(self) -> list[HistoryEntry]:
        return [entry for entry in self._store.history(NAME) if entry.event == RETRAINING]

    def _champion(self) -> Champion:
        champion = self._store.champion(NAME)
        if champion is None:
            raise LocalError("no model was promoted: read the log of the gate task")
        return champion

    def _wait(self, is_done: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + RETRAIN_SECONDS
        while not is_done():
            _expect(time.monotonic() < deadline, f"waited {RETRAIN_SECONDS} s for {what} in vain")
            time.sleep(0.3)

    def _show_verdict(self, record: MonitoringRecord, wanted: str) -> None:
        verdict = {Answer.YES: "degraded", Answer.NO: "healthy"}
        said = verdict.get(record.verdict.answer, "not enough data")
        style = "green" if said == wanted else "red"
        self._console.print(f"  monitor says [{style}]{said}[/{style}]:")
        for reason in record.verdict.reasons:
            self._console.print(f"    - {reason}", markup=False)

    def _show(self, task: str, state: str) -> None:
        style = STYLES.get(state, "dim")
        moment = time.strftime("%H:%M:%S")
        self._console.print(f"  [dim]{moment}[/dim] {task:9} [{style}]{state}[/{style}]")

    def _title(self, text: str) -> None:
        self._console.print(f"\n[bold]{text}[/bold]")

    def _say(self, text: str) -> None:
        self._console.print(f"  {text}", markup=False)


def _expect(is_true: bool, otherwise: str) -> None:
    if not is_true:
        raise LocalError(otherwise)


def _print_summary(outcome: Outcome, path: Path, console: Console) -> None:
    table = Table(title="Once round the loop", show_header=False)
    rows = {
        "accuracy on fresh drifted digits": f"{outcome.accuracy_before:.1%} with version "
        f"{outcome.champion_before}, {outcome.accuracy_after:.1%} with version "
        f"{outcome.champion_after}",
        "from drift to recovery": f"{outcome.seconds_to_recovery:.0f} s",
        "requests failed meanwhile": f"{outcome.failed_requests} of "
        f"{outcome.requests_during_the_loop}",
        "retrained because": "\n".join(outcome.retrain_reasons),
        "kept in": str(path),
    }
    for name, value in rows.items():
        table.add_row(name, value)
    console.print()
    console.print(table)
    if outcome.broken_link:
        console.print(f"[red]The loop broke:[/red] {outcome.broken_link}")
