"""The pages about models, in Airflow, in a real browser: looked at, acted on, by who may."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import httpx
import pytest

pytest.importorskip("playwright")
from playwright.sync_api import Page, expect, sync_playwright

from local.environment import USER, VIEWER
from pipeline_tasks.core import clock
from pipeline_tasks.core.values import Answer, MonitoringRecord, Ref, Verdict

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SHOTS = Path(os.environ.get("PERENNIAL_SCREENSHOTS") or "var/screenshots")
CONTRAST = Path(__file__).with_name("contrast.js").read_text().partition("\n")[2]
LAPTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}

expect.set_options(timeout=30_000)

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="needs chromium")


class Window:
    """A browser's window of one user; what its console says is collected."""

    def __init__(self, browser, live, user: str) -> None:
        self.live = live
        self.errors: list[str] = []
        self.context = browser.new_context(viewport=LAPTOP)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(30_000)
        self.page.on("console", lambda said: said.type == "error" and self.errors.append(said.text))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(live.local.ui)
        self.page.fill("input[name=username]", user)
        self.page.fill("input[name=password]", live.local.password(user))
        self.page.click("button[type=submit]")
        expect(self.page.get_by_text("Welcome")).to_be_visible(timeout=60_000)
        self.errors.clear()  # of Airflow's own login page

    def visit(self, path: str) -> Page:
        self.page.goto(f"{self.live.local.ui}/perennial{path}")
        return self.page


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def admin(browser, live):
    return Window(browser, live, USER)


@pytest.fixture(scope="module")
def viewer(browser, live):
    return Window(browser, live, VIEWER)


def history(live, name: str, event: str):
    return [one for one in live.store.history(name) if one.event == event]


def run_of(page: Page) -> str:
    """The run whose page this is."""
    return page.locator("h1 + .mono").inner_text()


def test_the_navigation_leads_to_all_models_who_needs_attention_first(admin, live):
    page = admin.page
    page.goto(live.local.ui)
    page.get_by_role("link", name="Models").click()
    frame = page.frame_locator("iframe")
    expect(frame.get_by_role("heading", name="Models")).to_be_visible()
    expect(frame.get_by_text("broken.yaml:7: model.dropout")).to_be_visible()
    names = frame.locator("td.first strong").all_inner_texts()
    assert set(names) == {"digits", "fresh", "small", "strict", "torn"}
    expect(frame.get_by_text("Nothing trained yet").first).to_be_visible()
    frame.get_by_role("link", name="digits").click()
    expect(frame.get_by_role("heading", name="The loop")).to_be_visible()
    expect(page).to_have_url(re.compile("/plugin/models/perennial/pipelines/digits"))


def test_a_dag_has_a_tab_with_its_model(admin, live):
    admin.page.goto(f"{live.local.ui}/dags/digits__monitor/plugin/model")
    frame = admin.page.frame_locator("iframe")
    expect(frame.get_by_role("heading", name="Quality in production")).to_be_visible()
    expect(frame.locator("svg polyline.realised").first).to_be_attached()


def test_a_page_in_airflow_follows_its_theme_and_opens_its_pages_around_the_frame(admin, live):
    page = admin.page
    page.evaluate("localStorage.setItem('theme', 'dark')")
    page.goto(f"{live.local.ui}/dags/digits__train/plugin/model")
    frame = page.frame_locator("iframe")
    expect(frame.locator("html")).to_have_attribute("data-theme", "dark")
    frame.get_by_role("link", name="monitor", exact=True).click()
    expect(page).to_have_url(re.compile("/dags/digits__monitor$"))
    page.evaluate("localStorage.setItem('theme', 'light')")


def test_a_cell_of_the_heat_map_shows_both_distributions_and_why_it_counts(admin):
    page = admin.visit("/pipelines/digits")
    page.locator("table.heat a.drift").first.click()
    expect(page.get_by_text("yes, it is drift")).to_be_visible()
    expect(page.locator("svg rect.reference").first).to_be_attached()
    expect(page.locator("svg rect.current").first).to_be_attached()


def test_decisions_lead_to_their_evidence(admin):
    page = admin.visit("/pipelines/digits")
    page.get_by_text("What was known").last.click()
    expect(page.get_by_text("A nightly schedule since the last decision").last).to_be_visible()
    page.get_by_role("link", name="the alarm").first.click()
    expect(page.get_by_role("heading", name="digits: monitor run")).to_be_visible()
    expect(page.get_by_role("heading", name="monitor says yes")).to_be_visible()


def test_a_version_shows_how_it_learned_how_good_it_is_and_what_it_was_made_of(admin):
    page = admin.visit("/pipelines/digits/versions/1")
    for title in ("On held-out rows", "How it learned", "Exports", "What it was made of"):
        expect(page.get_by_role("heading", name=title)).to_be_visible()
    assert page.locator("table.confusion tbody tr").first.locator("td").count() == 10
    page.get_by_text("Read it").click()
    expect(page.get_by_role("heading", name="digits, version 1").last).to_be_visible()


def test_two_versions_stand_side_by_side(admin):
    page = admin.visit("/pipelines/digits")
    page.get_by_role("button", name="Compare the two chosen").click()
    expect(page.get_by_role("heading", name=re.compile(r"Version \d+ beside"))).to_be_visible()
    expect(page.get_by_text("accuracy on test rows")).to_be_visible()


def test_the_model_answers_what_is_drawn(admin):
    page = admin.visit("/pipelines/digits/try")
    page.get_by_role("button", name="An example").click()
    page.get_by_role("button", name="Ask the model").click()
    expect(page.get_by_role("heading", name=re.compile(r"digit: \d"))).to_be_visible()
    page.get_by_role("button", name="Clear").click()
    box = page.locator("canvas").bounding_box()
    page.mouse.move(box["x"] + 120, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 120, box["y"] + 200, steps=8)
    page.mouse.up()
    assert page.locator("canvas").evaluate(
        "pad => pad.getContext('2d').getImageData(140, 140, 1, 1).data[0]"
    )
    page.get_by_role("button", name="Ask the model").click()
    expect(page.get_by_text(re.compile(r"version \d+, .* ms"))).to_be_visible()


def test_the_pad_is_drawn_on_by_keyboard(admin):
    pad = admin.visit("/pipelines/digits/try").locator("canvas")
    pad.press("Shift+ArrowDown")
    drawn = "pad => pad.getContext('2d').getImageData(140, 150, 1, 1).data[0]"
    assert pad.evaluate(drawn) == 255


def test_a_chart_is_told_in_numbers(admin):
    page = admin.visit("/pipelines/digits")
    told = page.locator("#quality-title").locator("xpath=ancestor::section").get_by_role("img")
    assert re.search(
        r"realised, .*: from [\d.]+ at .* to [\d.]+ at .*, between .* and .*; alarm at [\d.]+",
        told.get_attribute("aria-label") or "",
    )


def test_a_run_is_started_with_a_reason_and_followed_to_its_end(admin, live):
    page = admin.visit("/pipelines/fresh")
    expect(page.get_by_text("Nothing trained yet")).to_be_visible()
    page.get_by_text("Train now", exact=True).click()
    page.get_by_label("Why").fill("the first model")
    page.get_by_role("button", name="Train", exact=True).click()
    expect(page.get_by_text("The run has been started")).to_be_visible()
    run = run_of(page)
    assert live.airflow().follow("fresh__train", run, lambda *_: None) == "success"
    expect(page.locator("header .badge")).to_have_text("success", timeout=30_000)
    expect(page.get_by_text("says yes").first).to_be_visible()
    [entry] = history(live, "fresh", "run")
    assert (entry.by, entry.reasons, entry.run) == (USER, ("the first model",), run)


def test_training_is_seen_while_it_goes_on(admin, live):
    run = live.airflow().trigger("fresh__train", epochs=800, patience=0, learning_rate=0.0001)
    page = admin.visit(f"/pipelines/fresh/runs/{run}")
    expect(page.get_by_text(re.compile(r"epoch \d+ of at most 800"))).to_be_visible(timeout=90_000)
    expect(page.get_by_text("left.")).to_be_visible()
    assert live.airflow().follow("fresh__train", run, lambda *_: None) == "success"


def test_a_question_is_answered_on_the_page_with_a_reason(admin, live):
    run = live.airflow().trigger("fresh__train", epochs=5, approval="always", force=True)
    page = admin.page

    def is_asked() -> bool:
        return admin.visit("/pipelines/fresh").locator("#question").is_visible()

    live.wait_for(is_asked, "the question")
    admin.visit("/")
    expect(page.get_by_text("Waits for you")).to_be_visible()
    admin.visit("/pipelines/fresh")
    page.locator("#answer-reason").fill("looks good to me")
    page.get_by_role("button", name="Approve").click()
    expect(page.get_by_text("Approved, by your name")).to_be_visible()
    assert live.airflow().follow("fresh__train", run, lambda *_: None) == "success"
    [entry] = history(live, "fresh", "approval")
    assert (entry.by, entry.answer, entry.run) == (USER, Answer.YES, run)
    assert live.store.champion("fresh").run == run


def test_an_earlier_version_is_put_back_from_the_page(admin, live):
    before = live.store.champion("fresh").version
    page = admin.visit("/pipelines/fresh")
    page.get_by_text("Roll back", exact=True).first.click()
    page.get_by_label("Version", exact=True).select_option("1")
    page.locator("#rollback-reason").fill("it was better")
    page.get_by_role("button", name="Roll back").click()
    expect(page.get_by_text("The rollback has been started")).to_be_visible()
    live.wait_for(lambda: history(live, "fresh", "rollback"), "the rollback")
    [entry] = history(live, "fresh", "rollback")
    assert (entry.by, entry.version, entry.previous_version) == (USER, 1, before)
    assert entry.reasons == ("it was better",)


def test_an_alarm_is_snoozed_with_a_reason(admin, live):
    version = live.store.champion("fresh").version
    report = Ref(pipeline="fresh", run="none", artifact="monitoring", digest="none")
    now = clock.text(clock.now())
    live.store.record_monitoring(
        "fresh",
        MonitoringRecord(
            id="alarm",
            at=now,
            version=version,
            verdict=Verdict(answer=Answer.YES, reasons=("accuracy fell",)),
            causes=("quality",),
            episode="alarm",
            report=report,
            numbers={},
            prediction_watermark=now,
            label_watermark=now,
        ),
    )
    page = admin.visit("/pipelines/fresh")
    expect(page.get_by_text("Degraded")).to_be_visible()
    page.get_by_text("Snooze the alarm").click()
    page.locator("#snooze-reason").fill("known, being mended")
    page.get_by_role("button", name="Snooze").click()
    expect(page.get_by_text("snoozed until")).to_be_visible()
    assert history(live, "fresh", "snooze")[0].by == USER


def test_a_viewer_looks_and_cannot_act(viewer, live):
    page = viewer.visit("/pipelines/digits")
    expect(page.get_by_text("lets you look, not act")).to_be_visible()
    assert not page.get_by_text("Train now").count()
    sent = page.evaluate(
        """async () => (await fetch('/perennial/pipelines/digits/train', {method: 'POST',
        body: new URLSearchParams({reason: 'because I can'}), redirect: 'manual'})).status"""
    )
    assert sent == 403
    assert not history(live, "digits", "run")


ROUTES = ("/", "/static/pages.js", "/pipelines/digits", "/pipelines/digits/versions/1")
ROUTES += ("/pipelines/digits/compare?a=1&b=2", "/pipelines/digits/try", "/dags/digits__train")
ROUTES += ("/pipelines/digits/runs/any", "/dags/digits__train/runs/any", "/openapi.json", "/docs")


@pytest.mark.parametrize("route", ROUTES)
def test_whoever_is_not_logged_in_sees_nothing(live, route):
    reply = httpx.get(f"{live.local.ui}/perennial{route}")
    assert reply.status_code in (401, 404)
    assert "digits" not in reply.text


def test_a_refusal_leads_to_the_login_and_the_login_back(browser, live):
    page = browser.new_context(viewport=LAPTOP).new_page()
    page.goto(f"{live.local.ui}/perennial/pipelines/digits?span=50")
    page.get_by_role("link", name="Log in to Airflow").click()
    page.fill("input[name=username]", VIEWER)
    page.fill("input[name=password]", live.local.password(VIEWER))
    page.click("button[type=submit]")
    expect(page.get_by_role("heading", name="The loop")).to_be_visible()
    expect(page).to_have_url(re.compile(r"/perennial/pipelines/digits\?span=50$"))


@pytest.mark.parametrize("action", ["train", "rollback", "answer", "snooze", "try"])
def test_an_action_needs_a_user_and_the_pages_own_origin(admin, live, action):
    url = f"{live.local.ui}/perennial/pipelines/digits/{action}"
    form = {"reason": "because", "run": "any", "choice": "approve", "hours": "1"}
    assert httpx.post(url, data=form).status_code in (401, 403)
    cookies = {one["name"]: one["value"] for one in admin.context.cookies()}
    for headers in ({}, {"origin": "https://elsewhere.example"}):
        assert httpx.post(url, data=form, cookies=cookies, headers=headers).status_code == 403


def test_an_action_without_a_reason_is_refused_in_words(admin, live):
    cookies = {one["name"]: one["value"] for one in admin.context.cookies()}
    headers = {"origin": live.local.ui, "accept": "text/html"}
    url = f"{live.local.ui}/perennial/pipelines/digits/train"
    reply = httpx.post(url, data={"reason": " "}, cookies=cookies, headers=headers)
    assert reply.status_code == 400
    assert "Say why" in reply.text


def test_a_task_leads_to_the_page_about_what_it_did(admin, live):
    champion = live.store.champion("digits")
    path = f"/api/v2/dags/digits__train/dagRuns/{champion.run}/taskInstances/deploy/links"
    found = live.api().get(path).raise_for_status().json()["extra_links"]
    assert found["Model"].endswith(f"/perennial/pipelines/digits/versions/{champion.version}")
    admin.page.goto(found["Model"])
    frame = admin.page.frame_locator("iframe")
    expect(frame.get_by_role("heading", name="What it was made of")).to_be_visible()


def test_everything_is_reached_by_keyboard(admin):
    page = admin.visit("/")
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("Skip to the content")
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.locator(":focus").inner_text() == "digits":
            break
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="The loop")).to_be_visible()
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.locator(":focus").inner_text() == "Train now":
            break
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.locator(":focus").get_attribute("id") == "train-reason"


PAGES = {
    "models": "/",
    "pipeline": "/pipelines/digits",
    "version": "/pipelines/digits/versions/1",
    "compare": "/pipelines/digits/compare?a=1&b=2",
    "try": "/pipelines/digits/try",
    "untrained": "/pipelines/strict",
}


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", ["laptop", "phone"])
def test_every_page_fits_its_window(admin, live, size, theme):
    page, pages = admin.page, dict(PAGES)
    run = live.store.champion("digits").run
    pages["run"] = f"/pipelines/digits/runs/{run.replace('+', '%2B')}"
    page.set_viewport_size(PHONE if size == "phone" else LAPTOP)
    admin.visit("/")
    page.evaluate(f"localStorage.setItem('theme', '{theme}')")
    SHOTS.mkdir(parents=True, exist_ok=True)
    for name, path in pages.items():
        admin.visit(path)
        expect(page.locator("h1").first).to_be_visible()
        page.screenshot(path=SHOTS / f"{name}-{size}-{theme}.png", full_page=True)
        assert page.evaluate(CONTRAST) == [], name  # it unfolds everything
        wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0, f"{name} is {wide} pixels too wide"
    page.set_viewport_size(LAPTOP)


def test_the_console_has_said_nothing(admin, viewer):
    assert not admin.errors
    assert [one for one in viewer.errors if "403" not in one] == []
