"""What the pages say of a real small pipeline, without Airflow: gathered, drawn, and as a file."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace

import pytest

from pipeline_tasks.config import PROJECT
from pipeline_tasks.core import clock
from pipeline_tasks.core.values import Answer, HistoryEntry, MonitoringRecord, Verdict
from pipeline_tasks.learning.checkpoint import Checkpoint, Progress
from pipeline_tasks.monitoring.notifying import snoozed_until
from pipeline_tasks.pages import evidence, overview, rendering, report, run_page
from pipeline_tasks.pages.activity import Activity, Question, RunSeen
from pipeline_tasks.pages.files import Files
from pipeline_tasks.pages.health import health
from pipeline_tasks.pages.pipeline import Asked, pipeline_page
from pipeline_tasks.pages.reading import Journals, Lines
from pipeline_tasks.pages.stages import stages
from pipeline_tasks.pages.version import differences, version_page
from tests.server import environment
from tests.small import write_small

EVIL = "<script>alert(1)</script>"
SPLIT_SHARES = {"reference_shares": [0.5, 0.5], "current_shares": [0.1, 0.9]}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Two versions, and six looks at the second: the last one has drifted."""
    found = write_small(tmp_path_factory.mktemp("pages"), evaluation={"slices": ["colour"]})
    found.steps("first", until="deploy")
    found.steps("second", until="deploy", force=True)
    for number in range(6):
        look(found, number, is_bad=number == 5)
    return found


def look(small, number: int, *, is_bad: bool) -> None:
    """A look as the step `monitor` leaves it."""
    run = small.run(f"look{number}")
    drift = {
        "feature": "width",
        "aspect": "values",
        "rows": 200,
        "effective_rows": 180.0,
        "statistic": 20.0 if is_bad else 1.0,
        "threshold": 9.0,
        "effect": 0.4 if is_bad else 0.02,
        "floor": 0.1,
        "unit": "0.40 interquartile ranges",
        "is_enough": True,
        "bins": ["<= 0", "> 0"],
        **SPLIT_SHARES,
    }
    quality = {"metric": "accuracy", "value": 0.5 if is_bad else 0.9, "rows": 200}
    quality |= {"promoted_value": 0.92, "promoted_rows": 60, "spread": None}
    never = drift | {"aspect": "missing", "effect": 0.0, "statistic": 0.0}
    never |= {"bins": ["missing", "all others"]}
    never |= {"reference_shares": [0.0, 1.0], "current_shares": [0.0, 1.0]}
    with run.write("monitoring") as draft:
        content = {"quality": quality, "drift": [drift, never]}
        (draft.folder / "report.json").write_text(json.dumps(content))
    now = clock.text(clock.now())
    record = MonitoringRecord(
        id=run.id,
        at=now,
        version=run.store.champion("small").version,
        verdict=Verdict(answer=Answer.YES if is_bad else Answer.NO, reasons=(f"because {EVIL}",)),
        causes=("quality", "drift") if is_bad else (),
        episode=run.id if is_bad else "",
        report=draft.done(),
        numbers={
            "predictions": 200,
            "labelled": 200,
            "latency_p99_ms": 3.0,
            "quality": quality["value"],
            "quality_low": quality["value"] - 0.07,
            "quality_high": quality["value"] + 0.07,
            "drifted": int(is_bad),
            "compared": 1,
        },
        prediction_watermark=now,
        label_watermark=now,
    )
    run.store.record_monitoring("small", record)


def page_of(small, activity: Activity = Activity(), **asked: object):  # noqa: B008
    run = small.run()
    return pipeline_page(
        Journals(run.store), Files(run.store), run.config, activity, Asked(**asked)
    )


def test_a_pipeline_is_degraded_when_its_last_look_is_and_says_why(small):
    page = page_of(small)
    assert page.health.state == "degraded"
    assert page.health.what == "An alarm on quality and drift."
    assert [stage.state for stage in page.stages][-2:] == ["bad", "none"]
    assert page.limit.promoted == 0.92
    assert page.limit.alarm == pytest.approx(0.87)


def test_quality_over_time_has_every_look_with_its_interval(small):
    drawn = page_of(small).quality_chart
    assert drawn.count('<circle class="dot realised"') == 6
    assert '<polygon class="band realised"' in drawn
    assert "alarm at 0.87" in drawn
    assert "accuracy 0.5 (0.43 to 0.57), 200 rows" in drawn


def test_a_cell_of_the_heat_map_says_why_it_counts(small):
    page = page_of(small, look="look5", feature="width")
    finding = page.chosen[1]
    assert finding.is_drift
    assert finding.strength == 4
    assert "significant, and large enough to matter" in finding.reason
    assert "&lt;= 0: current 10.0%" in page.overlay
    assert not page_of(small, look="look0", feature="width").chosen[1].is_drift
    assert page_of(small, look="look9", feature="width").chosen is None


def test_the_heat_map_leaves_out_what_can_have_no_value(small):
    assert page_of(small).heat_map.features == ["width"]


def test_a_decision_shows_what_was_known_and_what_a_nightly_schedule_would_have_done(
    small, tmp_path
):
    run = small.run()
    numbers = {
        "labelled": 1200, "age_days": 3.44, "retrainings": 1, "is_answered": False,
        "nightly_trainings": 3, "nightly_seconds": 60.0,
    }  # fmt: skip
    about = {"event": "retraining", "by": "the loop", "reasons": ("quality",), "numbers": numbers}
    for subject in ("look5", "due"):
        entry = HistoryEntry(at=clock.text(clock.now()), run="decided", subject=subject, **about)
        run.store.record("small", entry)
    shown = dict(evidence.facts(entry))
    assert shown["Labelled rows to learn from"] == "1,200 rows"
    assert shown["Since the last training"] == "3.4 days"
    nightly = "3 trainings, about 60 s of computing"
    assert shown["A nightly schedule since the last decision"] == nightly
    page = page_of(small)
    html = rendering.render(
        "pipeline.html", root="", home="", offline=False, said="", page=page, spans=(50,),
        can_snooze=True,
    )  # fmt: skip
    assert "/runs/look5?kind=monitor" in html
    assert "/runs/due?kind=monitor" not in html
    written, data = report.write(run.store, run.config, tmp_path)
    assert nightly in written.read_text()
    assert json.loads(data.read_text())["decisions"][0]["numbers"] == numbers


def test_what_a_person_wrote_is_text_and_never_markup(small, tmp_path):
    run = small.run()
    entry = HistoryEntry(
        at=clock.text(clock.now()), event="run", run=EVIL, by=EVIL, reasons=(EVIL,)
    )
    run.store.record("small", entry)
    html, _ = report.write(run.store, run.config, tmp_path)
    assert EVIL not in html.read_text()
    assert "&lt;script&gt;alert(1)" in html.read_text()


def test_the_report_is_one_file_that_asks_nobody(small, tmp_path):
    home = {
        "PERENNIAL_PIPELINES": str(small.folder),
        "PERENNIAL_STORE": str(small.folder / "store"),
    }
    command = [sys.executable, "-m", "pipeline_tasks", "report", "small", "--to", str(tmp_path)]
    done = subprocess.run(
        command, cwd=PROJECT, env=environment(**home), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    html = (tmp_path / "small.html").read_text()
    assert len(html) < 5_000_000
    assert not re.search(r"""(?:src|href)=["']?(?:https?:|/)""", html)
    data = json.loads((tmp_path / "small.json").read_text())
    assert data["state"] == "degraded"
    assert [one["quality"]["value"] for one in data["looks"]] == [0.9] * 5 + [0.5]


def test_the_page_of_a_version_shows_all_that_was_measured(small):
    run = small.run()
    page = version_page(Journals(run.store), Files(run.store), run.config, 2)
    html = rendering.render("version.html", root="", home="", offline=False, said="", page=page)
    for text in ("On held-out rows", "Confusion", "By slice", "colour red", "Reliability"):
        assert text in html
    assert "small, version 2" in page.card
    assert [name for name, _, made in page.lineage if made] == [
        "deployment", "verdict", "exported", "evaluation", "model", "prepared", "checked", "raw",
    ]  # fmt: skip
    assert version_page(Journals(run.store), Files(run.store), run.config, 9) is None


def test_two_versions_differ_where_they_differ(small):
    run = small.run()
    journals, files = Journals(run.store), Files(run.store)
    left, right = (version_page(journals, files, run.config, number) for number in (1, 2))
    found = differences(left, right)
    assert {one.name for one in found["Metrics"]} >= {"accuracy on test rows"}
    assert found["Settings that differ"] == []


def test_what_was_cleared_away_is_said_and_breaks_nothing(tmp_path):
    found = write_small(tmp_path)
    found.steps("only", until="deploy")
    run = found.run()
    for path in (run.store.root / "small" / "runs" / "only").rglob("*.json"):
        path.unlink()
    page = version_page(Journals(run.store), Files(run.store), run.config, 1)
    html = rendering.render("version.html", root="", home="", offline=False, said="", page=page)
    assert "no longer in the store" in html


def test_who_needs_attention_comes_first(small):
    run = small.run()
    asked = Question("small__train", "r", "gate", "Promote the candidate small?", "", "")
    configs = [run.config, run.config.model_copy(update={"name": "other"})]
    journals, files = Journals(run.store), Files(run.store)
    rows = overview.rows(journals, files, configs, {})
    assert [row.name for row in rows] == ["small", "other"]
    rows = overview.rows(journals, files, configs, {"other": Activity(questions=(asked,))})
    assert [row.health.word for row in rows] == ["Waits for you", "Degraded"]


def test_an_empty_pipeline_teaches_what_to_do():
    assert "Train now" in health(None, [], Activity(may_act=True)).next
    assert "Train now" not in health(None, [], Activity()).next
    failed = Activity(runs=(RunSeen("r", "small__train", "failed"),))
    assert health(None, [], failed).word == "Run failed"


def test_a_line_of_a_journal_is_parsed_when_it_is_asked_for_and_once():
    seen: list[str] = []
    lines = Lines(lambda text: seen.append(text) or text.upper())
    assert lines.newest(["a", "b", "c"], 2) == ["B", "C"]
    assert lines.newest(["a", "b", "c", "d"], 2) == ["C", "D"]
    assert seen == ["b", "c", "d"]
    assert lines.newest(["a", "b", "c", "d"]) == ["A", "B", "C", "D"]
    assert lines.newest(["b", "a", "c"]) == ["B", "A", "C"]  # merged by another machine
    assert lines.newest([], 2) == []


def test_a_look_from_before_there_was_a_model_says_nothing_of_it(small):
    journals = Journals(small.run().store)
    look = replace(journals.looks("small", 1)[-1], version=None, answer="not_enough_data")
    found = health(journals.store.champion("small"), [look], Activity())
    assert "nobody has looked at production yet" in found.what
    assert found.reasons == ()


@pytest.mark.parametrize(
    ("state", "text"),
    [("success", "promoted version 2"), ("failed", "failed"), ("running", "under way")],
)
def test_a_stage_of_a_run_that_goes_on_or_failed_says_so(small, state, text):
    champion = small.run().store.champion("small")
    found = stages(champion, [], [], Activity(), {"evaluate": "success", "gate": state})
    assert next(one.text for one in found if one.name == "gate") == text


def test_a_look_that_was_retried_counts_once(small):
    journals = Journals(small.run().store)
    assert journals.look_count("small") == 0
    record = journals.store.monitoring("small")[-1]
    count = len(journals.looks("small", 100))
    assert journals.look_count("small") == count
    journals.store.record_monitoring("small", record)
    assert len(journals.looks("small", 100)) == journals.look_count("small") == count


def test_training_under_way_is_read_from_its_checkpoint(small):
    run = small.run("going")
    assert run_page.progress(run.store, run.config, "going", 10) is None
    kept = Checkpoint(run.store.scratch("small", "going", "train"), "fingerprint")
    known = {"validation_score": 0.5, "weights": []}
    progress = Progress().after(loss=1.0, validation_loss=1.1, seconds=9.0, **known)
    kept.save([], progress.after(loss=0.5, validation_loss=0.6, seconds=2.0, **known))
    found = run_page.progress(run.store, run.config, "going", 10)
    assert (found.done, found.seconds_left) == (2, 16.0)
    kept.clear()
    assert run_page.progress(run.store, run.config, "going", 10) is None


def test_a_snooze_ends_by_itself():
    def snooze(until: str) -> HistoryEntry:
        return HistoryEntry(
            at=until, event="snooze", run="", by="ana", reasons=("known",), subject=until
        )

    later = "2999-01-01T00:00:00.000Z"
    assert snoozed_until([snooze(later)]) == clock.parse(later)
    assert snoozed_until([snooze("2020-01-01T00:00:00.000Z")]) is None


def test_a_page_needs_nothing_heavy():
    script = (
        "import sys\n"
        "from pipeline_tasks.pages import evidence, overview, pipeline, run_page, trying, version\n"
        "print(*({'numpy', 'pandas', 'tensorflow', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=PROJECT, env=dict(os.environ), capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == ""
