"""What a page costs with 1,000 training runs and 10,000 looks at production stored.

Each page is asked of the real Airflow application in this process, with its database, its
permissions and its REST API; the figure is CPU seconds of the whole process for one request, the
median of seven. Beside it the first request after a start, when nothing has been read before, and
what the pages add to that start.
Usage: python -m bench.pages [--quick]
"""

from __future__ import annotations

import json
import os
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.measure import PROJECT, environment, show
from pipeline_tasks.core import clock
from pipeline_tasks.core.artifact import MANIFEST, Manifest, digest_of_all, digests
from pipeline_tasks.core.store import Store
from pipeline_tasks.core.values import Answer, HistoryEntry, MonitoringRecord, Ref, Scalar, Verdict

NAME, ASKED, MOST_CPU_SECONDS = "digits", 7, 0.3
APART = timedelta(minutes=15)
FEATURES, BINS = 20, 24
NUMBERS: dict[str, Scalar] = {"version": 20, "predictions": 2000, "labelled": 200}
NUMBERS |= {"server_is_answering": True, "server_memory_mb": 81.0}
TRAIN = """
from dataclasses import replace
from pipeline_tasks import config, loop
from pipeline_tasks.core.values import Champion
from pipeline_tasks.run import Run

run = Run(config=config.named("digits"), id="manual__first")
left = dict(loop.run_steps(run, until="verify"))
champion = Champion(
    version=1, run=run.id, model=left["train"], evaluation=left["evaluate"],
    prepared=left["prepare"], exported=left["export"], promoted_at="2026-01-01T00:00:00.000Z",
)
for version in range(1, 21):
    run.store.set_champion("digits", champion.model_copy(update={"version": version}))
"""


def main() -> None:
    """Measure every page; two CPU minutes, most of them to fill the store."""
    runs, looks = (50, 500) if "--quick" in sys.argv else (1000, 10_000)
    say = Console(stderr=True).print
    with tempfile.TemporaryDirectory(prefix="perennial-pages-") as folder:
        home = Path(folder)
        env = _environment(home)
        say(f"one real training run, then {runs:,} runs and {looks:,} looks ...")
        _call([sys.executable, "-c", TRAIN], env)
        _fill_store(home / "store", runs, looks)
        for words in (["db", "migrate"], ["dags", "reserialize"]):
            _call([str(Path(sys.executable).with_name("airflow")), *words], env)
        os.environ.clear()
        os.environ.update(env)
        start, whole = _start()
        found = _measure(home, runs)
    rows = {"start of Airflow's server, the pages of it": (f"{start:.2f} of {whole:.1f} s", "-")}
    rows |= {
        name: (f"{warm:.3f} s; the first time {first:.3f} s", f"{MOST_CPU_SECONDS} s")
        for name, (first, warm) in found.items()
    }
    title = f"CPU of one request, {runs:,} runs and {looks:,} looks stored"
    result = {name: {"first": first, "median": warm} for name, (first, warm) in found.items()}
    result["start"] = {"pages": start, "all": whole}
    show(title, rows, {"bench": "pages", "runs": runs, "looks": looks, "cpu_seconds": result})


def _environment(home: Path) -> dict[str, str]:
    return environment(
        PYTHONPATH=os.pathsep.join([str(PROJECT), str(PROJECT / "plugins")]),
        PERENNIAL_HOME=str(home),
        AIRFLOW_HOME=str(home / "airflow"),
        AIRFLOW__CORE__DAGS_FOLDER=str(PROJECT / "dags"),
        AIRFLOW__CORE__PLUGINS_FOLDER=str(PROJECT / "plugins"),
        AIRFLOW__CORE__LOAD_EXAMPLES="False",
        AIRFLOW__LOGGING__LOGGING_LEVEL="WARNING",
        AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS="True",
        AIRFLOW__API__BASE_URL="http://testserver",
        AIRFLOW__API_AUTH__JWT_SECRET="a secret of this benchmark alone" * 3,
    )


def _call(command: list[str], env: Mapping[str, str]) -> None:
    done = subprocess.run(
        command, cwd=PROJECT, env=env, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)[:80]} failed:\n{done.stdout[-1500:]}{done.stderr[-3000:]}")


def _fill_store(root: Path, runs: int, looks: int) -> None:
    """Journals and reports as the loop writes them; plainly, as only reading is measured."""
    store = Store(root)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    with (root / NAME / "monitoring.jsonl").open("w") as journal:
        for number in range(looks):
            record = _record(root, number, clock.text(start + number * APART))
            journal.write(record.model_dump_json() + "\n")
    for number in range(runs):
        entry = HistoryEntry(
            at=clock.text(start + number * APART * looks / runs),
            event="promotion" if number % 50 == 0 else "refusal",
            run=f"scheduled__{number}",
            by="scheduled",
            reasons=("accuracy 0.9 against the champion's 0.91 on the same 480 rows",) * 3,
            version=number // 50 + 1,
        )
        store.record(NAME, entry)


def _record(root: Path, number: int, at: str) -> MonitoringRecord:
    is_bad = number % 97 == 0
    verdict = Verdict(
        answer=Answer.YES if is_bad else Answer.NO,
        reasons=(
            "accuracy 0.955 on 200 labelled rows, 0.9775 when promoted: 2.3 points lower (alarm)",
            "none of 20 features has drifted",
            "latency p50 0.1 ms, p99 0.3 ms (limit 250)",
            "server memory 81 MB (limit 4000)",
        ),
    )
    run = f"scheduled__{number}"
    return MonitoringRecord(
        id=run,
        at=at,
        version=20,
        verdict=verdict,
        causes=("quality",) if is_bad else (),
        episode=run if is_bad else "",
        report=_report(root, run, number),
        numbers=NUMBERS | _quality(number) | {"label_watermark": at, "prediction_watermark": at},
        prediction_watermark=at,
        label_watermark=at,
    )


def _quality(number: int) -> dict[str, Scalar]:
    value = 0.9 + number % 13 / 200
    found: dict[str, Scalar] = {"drifted": 0, "compared": FEATURES}
    for name in ("quality", "estimated"):
        found |= {name: value, f"{name}_low": value - 0.02, f"{name}_high": value + 0.02}
    return found


def _report(root: Path, run: str, number: int) -> Ref:
    folder = root / NAME / "runs" / run / "monitoring"
    folder.mkdir(parents=True)
    shares = [1 / BINS] * BINS
    drift = [
        {
            "feature": f"column {place}", "test": "Kolmogorov-Smirnov", "rows": 2000,
            "effect": (number + place) % 17 / 100, "p_value": 0.2, "threshold": 0.0005,
            "is_drift": False, "reference_shares": shares, "current_shares": shares,
            "bins": [f"<= {bin_}" for bin_ in range(BINS)],
        }
        for place in range(FEATURES)
    ]  # fmt: skip
    quality = {"metric": "accuracy", "value": 0.9 + number % 13 / 200, "rows": 200}
    quality |= {"promoted_value": 0.9775, "promoted_rows": 178, "spread": None}
    (folder / "report.json").write_text(json.dumps({"quality": quality, "drift": drift}))
    files = digests(folder)
    made = Manifest(
        digest=digest_of_all(files), files=files, inputs={}, settings=None, fingerprint="",
        libraries={}, summary={}, made_at="2026-01-01T00:00:00.000Z", seconds=0.1,
    )  # fmt: skip
    (folder / MANIFEST).write_text(made.model_dump_json())
    return Ref(pipeline=NAME, run=run, artifact="monitoring", digest=made.digest)


def _start() -> tuple[float, float]:
    """CPU seconds until Airflow's application is there: the pages' share, and all of it."""
    began = time.process_time()
    from airflow.api_fastapi.app import cached_app
    from airflow.plugins_manager import ensure_plugins_loaded, get_fastapi_plugins

    ensure_plugins_loaded()
    before = time.process_time()
    get_fastapi_plugins()
    pages = time.process_time() - before
    cached_app()
    return pages, time.process_time() - began


def _measure(home: Path, runs: int) -> dict[str, tuple[float, float]]:
    """By page: CPU seconds of the first request, and the median of the next."""
    from airflow.api_fastapi.main import app
    from fastapi.testclient import TestClient

    with TestClient(app) as client:
        token = client.get("/auth/token").json()["access_token"]
        client.headers["authorization"] = f"Bearer {token}"
        body = {"logical_date": None, "dag_run_id": "manual__first"}
        client.post(f"/api/v2/dags/{NAME}__train/dagRuns", json=body).raise_for_status()
        _copy_run(home / "airflow" / "airflow.db", runs)
        pages = {
            "models": "/", "pipeline": f"/pipelines/{NAME}",
            "pipeline, last 1,000 looks": f"/pipelines/{NAME}?span=1000",
            "version": f"/pipelines/{NAME}/versions/1",
            "compare": f"/pipelines/{NAME}/compare?a=1&b=2",
            "run": f"/pipelines/{NAME}/runs/manual__first", "try": f"/pipelines/{NAME}/try",
        }  # fmt: skip
        client.get("/api/v2/dags").raise_for_status()  # Airflow's own imports are not a page's
        return {name: _cost(client, f"/perennial{path}") for name, path in pages.items()}


def _copy_run(database: Path, runs: int) -> None:
    """The one run that Airflow has made, as many times as there shall be, one after another."""
    with sqlite3.connect(database) as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(dag_run)")]
        kept = [name for name in columns if name not in ("id", "run_id", "run_after")]
        copied = f"INSERT INTO dag_run (run_id, run_after, {', '.join(kept)}) SELECT ?, ?, " + (
            f"{', '.join(kept)} FROM dag_run WHERE run_id = 'manual__first'"
        )
        start = datetime(2025, 1, 1, tzinfo=UTC)
        for number in range(runs):
            at = (start + number * APART).strftime("%Y-%m-%d %H:%M:%S.%f")
            connection.execute(copied, (f"scheduled__{number}", at))


def _cost(client: Any, path: str) -> tuple[float, float]:
    def once() -> float:
        before = time.process_time()
        client.get(path, headers={"accept": "text/html"}).raise_for_status()
        return time.process_time() - before

    first = once()
    return first, statistics.median(once() for _ in range(ASKED))


if __name__ == "__main__":
    main()
