"""Who is told what, and how often: real webhooks and mails, to servers of the test."""

from __future__ import annotations

import json
import logging
import socketserver
import threading
from contextlib import contextmanager
from datetime import datetime, timedelta
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pipeline_tasks.core import clock
from pipeline_tasks.core.errors import ConfigError, TransientError
from pipeline_tasks.core.values import Answer, MonitoringRecord, Ref, Verdict
from pipeline_tasks.monitoring import notifying
from pipeline_tasks.notifiers import email, webhook

TOKEN = "T0/B1/hush"
QUICK = {"attempts": 2, "backoff_seconds": 0.01}
REF = Ref(pipeline="small", run="run", artifact="monitoring", digest="d")


class Chat:
    """A webhook: what it was sent, and the statuses that it answers with before it is well."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/services/{TOKEN}"
        self.texts: list[str] = []
        self.statuses: list[int] = []

    def titles(self) -> list[str]:
        return [text.splitlines()[0].strip("*") for text in self.texts]


@contextmanager
def serving(server):
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def chat(monkeypatch):
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = found.statuses.pop(0) if found.statuses else 200
            if status == 200:
                found.texts.append(json.loads(body)["text"])
            self.send_response(status)
            self.end_headers()
            self.wfile.write(f"answer to {self.path}".encode())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Chat(server.server_port)
    monkeypatch.setenv("TEAM_CHAT_URL", found.url)
    with serving(server):
        yield found


class Mail:
    """An SMTP server: the messages it took."""

    def __init__(self) -> None:
        self.messages: list[tuple[list[str], str]] = []
        self.logins: list[str] = []
        self.refusal = ""


@pytest.fixture
def mail(monkeypatch):
    class Handler(socketserver.StreamRequestHandler):
        def say(self, text: str) -> None:
            self.wfile.write(f"{text}\r\n".encode())

        def handle(self):
            self.say("220 here")
            to: list[str] = []
            while line := self.rfile.readline().decode().strip():
                verb = line.split(" ")[0].upper()
                if verb == "EHLO":
                    self.wfile.write(b"250-here\r\n250 AUTH PLAIN\r\n")
                elif verb == "AUTH":
                    found.logins.append(line)
                    self.say("235 welcome")
                elif verb == "MAIL" and found.refusal:
                    self.say(found.refusal)
                elif verb == "RCPT":
                    to.append(line.partition(":")[2].strip("<>"))
                    self.say("250 ok")
                elif verb == "DATA":
                    self.say("354 go on")
                    lines = []
                    while (text := self.rfile.readline().decode().rstrip("\r\n")) != ".":
                        lines.append(text)
                    found.messages.append((to, "\n".join(lines)))
                    self.say("250 kept")
                elif verb == "QUIT":
                    self.say("221 bye")
                    return
                else:
                    self.say("250 ok")

    found = Mail()
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    port = server.server_address[1]
    monkeypatch.setenv("AIRFLOW_CONN_MAIL", f"smtp://me:hush@127.0.0.1:{port}")
    with serving(server):
        yield found


def by_mail(**changes):
    content = {"connection": "mail", "from": "p@shop.example", "to": ["a@b.example", "c@d.example"]}
    return email.Params.model_validate(content | {"security": "none"} | QUICK | changes)


def by_chat(**changes):
    return webhook.Params.model_validate({"url_variable": "TEAM_CHAT_URL"} | QUICK | changes)


def test_a_webhook_is_told_in_the_form_that_slack_takes(chat):
    webhook.notify(by_chat(), title="small is degraded", text="- a < b & c")
    assert chat.texts == ["*small is degraded*\n- a &lt; b &amp; c"]


@pytest.mark.parametrize("form", ["uri", "http", "slack"])
def test_a_webhooks_address_may_be_a_connection_of_any_form(chat, monkeypatch, form):
    host, port = "127.0.0.1", chat.url.split(":")[2].split("/")[0]
    told = {
        "uri": chat.url,
        "http": {"conn_type": "http", "host": host, "port": port, "schema": "http",
                 "password": f"services/{TOKEN}"},
        "slack": {"conn_type": "slackwebhook", "host": f"http://{host}:{port}/services/",
                  "password": TOKEN},
    }[form]  # fmt: skip
    monkeypatch.setenv("AIRFLOW_CONN_CHAT", told if isinstance(told, str) else json.dumps(told))
    params = by_chat(url_variable=None, connection="chat")
    assert webhook.address(params) == chat.url
    webhook.notify(params, title="t", text="- r")
    assert len(chat.texts) == 1


def test_a_busy_webhook_is_asked_again_and_one_that_refuses_is_not(chat, caplog):
    caplog.set_level(logging.DEBUG)
    chat.statuses = [503]
    webhook.notify(by_chat(), title="t", text="- r")
    assert len(chat.texts) == 1
    chat.statuses = [503, 429]
    with pytest.raises(TransientError, match="status 429") as busy:
        webhook.notify(by_chat(), title="t", text="- r")
    chat.statuses = [404]
    with pytest.raises(ConfigError, match=r"(?s)status 404: answer to.*what to do") as refused:
        webhook.notify(by_chat(), title="t", text="- r")
    assert len(chat.texts) == 1
    for text in (str(busy.value), str(refused.value), caplog.text):
        assert TOKEN not in text


def test_a_webhooks_address_in_the_pipeline_file_is_refused_and_not_repeated(small):
    secret = "https://hooks.slack.com/services/T0/B1/hush"
    for settings in ({"url": secret}, {"url_variable": secret}, {"connection": secret}):
        with pytest.raises(ConfigError, match=r"notifiers\.0") as caught:
            small(notifiers=[{"kind": "webhook", **settings}]).run()
        assert "hush" not in str(caught.value)


def test_a_mail_goes_to_everybody_with_a_subject_of_one_line(mail):
    email.notify(by_mail(), title="small is\ndegraded", text="- größer")
    [(to, text)] = mail.messages
    found = message_from_bytes(text.encode())
    assert to == ["a@b.example", "c@d.example"]
    assert (found["From"], found["Subject"]) == ("p@shop.example", "small is degraded")
    assert "größer" in found.get_payload(decode=True).decode()
    assert len(mail.logins) == 1


def test_a_mail_server_that_refuses_or_is_away_is_told_apart_without_the_password(
    mail, monkeypatch
):
    mail.refusal = "550 hush is nobody here"
    with pytest.raises(ConfigError, match=r"550 \*\*\* is nobody"):
        email.notify(by_mail(), title="t", text="- r")
    mail.refusal = "451 later"
    with pytest.raises(TransientError, match="451 later, after 2 of 2 tries"):
        email.notify(by_mail(), title="t", text="- r")
    mail.refusal = ""
    with pytest.raises(ConfigError, match="STARTTLS"):
        email.notify(by_mail(security="starttls"), title="t", text="- r")
    monkeypatch.setenv("AIRFLOW_CONN_MAIL", "smtp://me:hush@mail.shop.example:25")
    with pytest.raises(ConfigError, match="would be told the login in plain text"):
        email.notify(by_mail(), title="t", text="- r")
    monkeypatch.setenv("AIRFLOW_CONN_MAIL", "smtp://127.0.0.1:1")
    with pytest.raises(TransientError, match="ConnectionRefusedError"):
        email.notify(by_mail(), title="t", text="- r")
    assert mail.messages == []


class Watched:
    """The small pipeline, told of by a webhook: `look` is one look of its monitor."""

    def __init__(self, small, **changes: object) -> None:
        notifiers = [{"kind": "webhook", "url_variable": "TEAM_CHAT_URL", **QUICK}]
        self.run = small(notifiers=notifiers, **changes).run()
        self.store = self.run.store

    def look(self, answer: Answer, *causes: str, episode: str = "look 1") -> None:
        record = MonitoringRecord(
            id="look",
            at=clock.text(clock.now()),
            version=1,
            verdict=Verdict(answer=answer, reasons=("accuracy is 0.5",)),
            causes=causes,
            episode=episode if causes else "",
            report=REF,
            numbers={},
            prediction_watermark="",
            label_watermark="",
        )
        notifying.look(self.run, record)


def test_an_episode_is_told_once_for_each_cause_and_its_end_once(small, chat):
    watched = Watched(small)
    watched.look(Answer.NO)
    for causes in (("drift",), ("drift",), ("drift", "quality"), ("quality",)):
        watched.look(Answer.YES, *causes)
    watched.look(Answer.NOT_ENOUGH_DATA)
    for _ in range(2):
        watched.look(Answer.NO)
    watched.look(Answer.YES, "drift", episode="look 2")
    assert chat.titles() == [
        "small is degraded: drift",
        "small is degraded: drift, quality",
        "small has recovered",
        "small is degraded: drift",
    ]
    assert "accuracy is 0.5" in chat.texts[0]


def test_what_lasts_is_said_again_after_the_cool_down(small, chat):
    watched = Watched(small, notifying={"cooldown_minutes": 0})
    for _ in range(2):
        watched.look(Answer.YES, "drift")
    notifying.tell(watched.run, "an incident", ["r"])
    notifying.tell(watched.run, "an incident", ["r"])
    assert chat.titles() == ["small is degraded: drift"] * 2 + ["an incident"]


def test_a_notifier_that_fails_stops_nobody_and_tries_again_at_the_next_look(small, chat, caplog):
    watched = Watched(small)
    chat.statuses = [503] * 4
    notifying.tell(watched.run, "version 2 was taken away", ["r"])
    watched.look(Answer.NOT_ENOUGH_DATA)
    assert chat.texts == []
    assert "the notifier webhook could not say 'version 2 was taken away'" in caplog.text
    assert "what to do" in caplog.text
    for _ in range(2):
        watched.look(Answer.NOT_ENOUGH_DATA)
    assert chat.titles() == ["version 2 was taken away"]
    chat.statuses = [503] * 2
    for _ in range(3):
        watched.look(Answer.YES, "quality")
    assert chat.titles()[1:] == ["small is degraded: quality"]


def test_one_notifier_that_fails_does_not_silence_the_other(small, chat, caplog):
    watched = Watched(small)
    parts = [{"kind": "webhook", "url_variable": "NOBODY"}, *watched.run.config.notifiers]
    run = small(
        notifiers=[one if isinstance(one, dict) else one.model_dump() for one in parts]
    ).run()
    for _ in range(2):
        notifying.tell(run, "an incident", ["r"])
    assert chat.titles() == ["an incident"]
    assert "environment variable NOBODY is not set" in caplog.text


def test_a_snooze_is_in_the_history_and_holds_back_what_is_known(small, chat):
    watched = Watched(small)
    tomorrow = clock.now() + timedelta(days=1)
    notifying.snooze(watched.store, "small", tomorrow, by="ana", reason="we know: new camera")
    watched.look(Answer.YES, "drift")
    notifying.tell(watched.run, "version 2 was taken away", ["r"])
    assert chat.titles() == ["version 2 was taken away"]
    last = watched.store.history("small")[-1]
    assert (last.event, last.by, last.reasons) == ("snooze", "ana", ("we know: new camera",))
    assert notifying.snoozed_until(watched.store.history("small")) == clock.parse(last.subject)
    notifying.snooze(watched.store, "small", clock.now(), by="ana", reason="mended")
    watched.look(Answer.YES, "drift")
    assert chat.titles()[1:] == ["small is degraded: drift"]


def test_a_task_that_fails_is_told_once_in_the_cool_down_and_a_snooze_does_not_hide_it(small, chat):
    watched = Watched(small)
    tomorrow = clock.now() + timedelta(days=1)
    notifying.snooze(watched.store, "small", tomorrow, by="ana", reason="we know")
    for task in ("check", "check", "publish", ""):
        notifying.failed(watched.run, "small__train", task, ["row 7 has no colour"])
    patient = Watched(small, notifying={"cooldown_minutes": 0})
    notifying.failed(patient.run, "small__train", "check", ["row 7 has no colour"])
    notifying.failed(watched.run, "small__rollback", "", ["a task was killed"])
    assert chat.titles() == [
        "small__train failed at check",
        "small__train failed at publish",
        "small__train failed at check",
        "small__rollback failed",
    ]
    assert "row 7 has no colour" in chat.texts[0]


def test_a_snooze_needs_a_reason_and_a_time_zone(small):
    store = small().run().store
    with pytest.raises(ConfigError, match="needs a reason"):
        notifying.snooze(store, "small", clock.now(), by="ana", reason=" ")
    with pytest.raises(ConfigError, match="no time zone"):
        notifying.snooze(store, "small", datetime(2026, 1, 2), by="ana", reason="why")
