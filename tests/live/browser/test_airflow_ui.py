"""The loop as a person sees it in Airflow's UI, in a real browser."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

pytest.importorskip("playwright")
from playwright.sync_api import Page, expect, sync_playwright

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SHOTS = Path(os.environ.get("PERENNIAL_SCREENSHOTS") or "var/screenshots")
LOOP = ["ingest", "check", "prepare", "train", "evaluate", "gate", "export", "verify"]
LOOP += ["publish", "deploy", "bake"]

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="needs chromium")


@pytest.fixture(scope="module")
def page(live):
    """Logged in as the admin whom `make run` names; errors of the console are collected."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(30_000)
        page.goto(live.local.ui)
        page.fill("input[name=username]", "admin")
        page.fill("input[name=password]", live.local.password())
        page.click("button[type=submit]")
        expect(page.get_by_text("Welcome")).to_be_visible(timeout=60_000)
        yield page
        browser.close()


@pytest.fixture(autouse=True)
def screenshot(page, request):
    """What the test saw last."""
    yield
    SHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SHOTS / f"{request.node.name}.png")


def visit(page: Page, live, path: str) -> None:
    page.goto(live.local.ui + path, wait_until="networkidle")


def test_the_list_shows_the_four_dags_of_a_pipeline_and_the_broken_file(page, live):
    visit(page, live, "/dags?tags=digits")
    for name in ("train", "monitor", "retrain", "rollback"):
        expect(page.get_by_text(f"digits · {name}", exact=True)).to_be_visible()
    visit(page, live, "/")
    expect(page.get_by_text("Dag Import Error").first).to_be_visible()
    page.get_by_text("Dag Import Error").first.click()
    page.get_by_text("problems.py").first.click()
    expect(page.get_by_text("broken.yaml:7: model.dropout").first).to_be_visible()


def test_the_training_page_shows_the_loop_the_schedule_and_the_doc(page, live):
    visit(page, live, "/dags/digits__train")
    for task in LOOP:
        expect(page.get_by_text(task, exact=True).first).to_be_visible()
    expect(page.get_by_text("0 2 * * *").first).to_be_visible()


def test_the_trigger_form_has_typed_parameters_and_a_run_from_it_obeys_them(page, live):
    visit(page, live, "/dags/digits__train")
    page.get_by_role("button", name="Trigger").first.click()
    for name in ("epochs", "batch_size", "learning_rate", "patience", "seed", "force", "reason"):
        expect(page.locator(f"[name=element_{name}]").first).to_be_attached()
        expect(page.get_by_text(name.replace("_", " ").capitalize()).first).to_be_visible()
    expect(page.get_by_text("Passes over the training rows, at most.")).to_be_visible()
    expect(page.get_by_text("Train again even if nothing has changed.")).to_be_visible()
    before = {run["dag_run_id"] for run in runs(live)}
    page.locator("[name=element_epochs]").fill("2")
    page.get_by_role("button", name="Trigger").last.click()
    live.wait_for(lambda: {run["dag_run_id"] for run in runs(live)} - before, "the new run")
    [new] = {run["dag_run_id"] for run in runs(live)} - before
    assert live.airflow().follow("digits__train", new, lambda *_: None) == "success"
    assert "epoch 2/2" in live.task_log("digits__train", new, "train")
    page.goto(f"{live.local.ui}/dags/digits__train/runs/{new}", wait_until="networkidle")
    expect(page.get_by_text("skipped").first).to_be_visible(timeout=30_000)


def runs(live) -> list[dict[str, str]]:
    found: list[dict[str, str]] = (
        live.api().get("/api/v2/dags/digits__train/dagRuns").json()["dag_runs"]
    )
    return found


def test_a_tasks_log_reads_well(page, live):
    run = runs(live)[0]["dag_run_id"]
    visit(page, live, f"/dags/digits__train/runs/{run}/tasks/train")
    expect(page.get_by_text("train: done in").first).to_be_visible()
    expect(page.get_by_text(re.compile(r"epoch \d+/60")).first).to_be_visible()


def test_a_failed_task_says_file_line_column_and_what_to_do(page, live):
    run = live.airflow().trigger("torn__train")
    assert live.airflow().follow("torn__train", run, lambda *_: None) == "failed"
    visit(page, live, f"/dags/torn__train/runs/{run}/tasks/check")
    expect(page.get_by_text("torn.csv line 7, column width: 'wide'").first).to_be_visible()
    expect(page.get_by_text("what to do: mend these values").first).to_be_visible()


def test_the_rollback_form_asks_why_and_says_what_no_version_means(page, live):
    visit(page, live, "/dags/digits__rollback")
    page.get_by_role("button", name="Trigger").first.click()
    expect(page.get_by_text("Why: it is kept in the history, with your name.")).to_be_visible()
    expect(page.get_by_text("The version that shall answer")).to_be_visible()
    expect(page.get_by_text("the last good one", exact=True)).to_be_visible()
    expect(page.get_by_text("null", exact=True)).to_have_count(0)


def test_assets_link_data_model_and_deployment(page, live):
    visit(page, live, "/assets")
    for kind in ("data", "model", "deployment"):
        expect(page.get_by_text(f"digits {kind}", exact=True).first).to_be_visible()


def test_the_retraining_shows_that_it_watches(page, live):
    visit(page, live, "/dags/digits__retrain")
    expect(page.get_by_text("watch", exact=True).first).to_be_visible()


def test_a_search_names_each_trial_by_what_it_tried_and_how_that_went(page, live):
    known = live.api().get("/api/v2/dags/small__tune/dagRuns").json()["dag_runs"]
    run = known[0]["dag_run_id"] if known else live.airflow().trigger("small__tune")
    assert live.airflow().follow("small__tune", run, lambda *_: None) == "success"
    visit(page, live, f"/dags/small__tune/runs/{run}/tasks/trial/mapped")
    for number in range(4):
        title = re.compile(rf"^{number}: learning_rate [\d.e-]+: (loss|pruned)")
        expect(page.get_by_text(title).first).to_be_visible()
    visit(page, live, f"/dags/small__tune/runs/{run}/tasks/choose")
    expect(page.get_by_text("has the least validation loss").first).to_be_visible()
