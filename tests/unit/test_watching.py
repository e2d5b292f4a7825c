"""What several servers count, seen as one."""

from __future__ import annotations

from pipeline_tasks import run as running
from pipeline_tasks.release import watching
from pipeline_tasks.release.watching import Subject
from tests.small import write_small

ONE, OTHER = "http://one", "http://other"


def text(started: float, champion: int, candidate: int) -> str:
    counts = {1: champion, 2: candidate}
    lines = [
        f'perennial_requests_total{{model="small",version="{version}",status="OK"}} {count}'
        for version, count in counts.items()
    ]
    return "\n".join([f"process_start_time_seconds {started}", *lines, ""])


def test_requests_are_summed_over_servers_through_restarts_and_silences(tmp_path):
    run = write_small(tmp_path).run()
    subject = Subject(name="watch", candidate=2, champion=1, minutes=60)
    seen = []

    def look(**texts):
        named = {{"one": ONE, "other": OTHER}[name]: given for name, given in texts.items()}
        assert watching.look(run, subject, named, lambda found, _: seen.append(found)) is None
        return seen[-1].candidate.requests, seen[-1].champion.requests

    assert look(one=text(1, 100, 0), other=text(2, 1000, 0)) == (0, 0)
    assert look(one=text(1, 110, 5), other=text(2, 1020, 7)) == (12, 30)
    assert look(other=text(2, 1030, 8)) == (13, 40)
    # The one that said nothing had been restarted, while the other counted on.
    assert look(one=text(9, 4, 3), other=text(2, 1500, 9)) == (17, 514)
    assert look() == (17, 514)


def test_before_a_bake_is_what_the_servers_had_counted_together(tmp_path):
    run = write_small(tmp_path).run()
    subject = Subject(name="bake", candidate=2, champion=1, minutes=60, is_alone=True)
    seen = []
    texts = {ONE: text(1, 100, 0), OTHER: text(2, 1000, 0)}
    for _ in range(2):
        watching.look(run, subject, texts, lambda found, _: seen.append(found))
    assert [found.before.requests for found in seen] == [1100, 1100]


def test_several_servers_are_named_with_a_comma(monkeypatch, tmp_path):
    monkeypatch.setenv("PERENNIAL_SERVER", f"{ONE}, {OTHER},")
    assert write_small(tmp_path).run().servers == (ONE, OTHER)
    monkeypatch.delenv("PERENNIAL_SERVER")
    assert running.server_url() == "http://127.0.0.1:8501"
    assert running.other_servers() == ()
