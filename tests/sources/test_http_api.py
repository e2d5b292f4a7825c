"""An HTTP API: pages, errors that pass and errors that last, and who asks."""

from __future__ import annotations

import base64
import json
import traceback
from collections.abc import Callable

import pytest

from pipeline_tasks import config
from pipeline_tasks.core.errors import ConfigError, DataError, TransientError
from pipeline_tasks.sources import http_api
from tests.sources.made import Source
from tests.sources.site import Reply, Request, serving

RECORDS = [
    {"width": n + 0.5, "paint": {"names": [f"c{n % 3}"]}, "kind": n % 2, "id": n} for n in range(7)
]
FIELDS = {"colour": "paint.names.0"}
SIZE = 3


def source(site, path="/items", **more):
    settings = {"kind": "http_api", "url": site.url + path, "fields": FIELDS}
    settings |= {"backoff_seconds": 0.001, "attempts": 3}
    return Source(settings | more)


def by_page(request: Request) -> Reply:
    size = int(request.query.get("per_page", SIZE))
    begin = (int(request.query["page"]) - 1) * size
    return Reply(json.dumps({"data": {"items": RECORDS[begin : begin + size]}}))


def by_cursor(request: Request) -> Reply:
    begin = int(request.query.get("after", 0))
    end = begin + SIZE
    more = end if end < len(RECORDS) else None
    return Reply(json.dumps({"data": {"items": RECORDS[begin:end]}, "meta": {"next": more}}))


def by_link(request: Request) -> Reply:
    begin = int(request.query.get("from", 0))
    end = begin + SIZE
    link = f'</items?from={end}>; rel="next", </items?from=0>; rel="first"'
    return Reply(
        json.dumps({"data": {"items": RECORDS[begin:end]}}),
        headers={"Link": link} if end < len(RECORDS) else {},
    )


WAYS = {
    "page": (by_page, {"by": "page"}, 4),
    "size": (by_page, {"by": "page", "size_parameter": "per_page", "size": 5}, 3),
    "cursor": (by_cursor, {"by": "cursor", "path": "meta.next", "parameter": "after"}, 3),
    "link": (by_link, {"by": "link"}, 3),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_page_is_read_once_in_order(way, tmp_path):
    answer, pagination, requests = WAYS[way]
    with serving(answer) as site:
        made = source(site, pagination=pagination, records="data.items")
        kept = made.fetch(tmp_path)
        assert len(site.asked) == requests
        frame = made.read()
    lines = kept["records.jsonl"].splitlines()
    assert [json.loads(line) for line in lines] == RECORDS
    assert frame["width"].tolist() == [record["width"] for record in RECORDS]
    assert frame["colour"].tolist() == [f"c{n % 3}" for n in range(7)]
    assert frame["kind"].tolist() == [n % 2 for n in range(7)]


def once(reply: Reply, then: Callable[[Request], Reply]) -> Callable[[Request], Reply]:
    replies = [reply]
    return lambda request: replies.pop() if replies else then(request)


def whole(_: Request) -> Reply:
    return Reply(json.dumps(RECORDS))


@pytest.mark.parametrize(
    "reply",
    [
        Reply("slower", 429, {"Retry-After": "0"}),
        Reply("slower", 429, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}),
        Reply("slower", 429, {"Retry-After": "soon"}),
        Reply("down", 503),
        Reply("[", is_cut=True),
        Reply("not packed", headers={"Content-Encoding": "gzip"}),
    ],
)
def test_what_passes_is_asked_again(reply):
    with serving(once(reply, whole)) as site:
        frame = source(site).read()
        assert len(site.asked) == 2
    assert len(frame) == 7


def test_an_error_that_lasts_is_told_after_the_last_try():
    with serving(lambda _: Reply("<b>out of\nmemory</b>", 500)) as site:
        with pytest.raises(TransientError) as caught:
            source(site).digest()
        assert len(site.asked) == 3
    assert "page 1: status 500: <b>out of memory</b>, after 3 of 3 tries" in str(caught.value)


def test_a_wait_that_is_too_long_is_left_to_the_next_run():
    with serving(lambda _: Reply("slower", 429, {"Retry-After": "3600"})) as site:
        with pytest.raises(TransientError, match="asks to wait for 3600 s"):
            source(site).digest()
        assert len(site.asked) == 1


def test_nobody_there_is_worth_another_try():
    with serving(whole) as site:
        gone = source(site)
    with pytest.raises(TransientError, match="ConnectError"):
        gone.digest()


def test_an_answer_that_does_not_come_is_worth_another_try():
    with (
        serving(lambda _: Reply("[", chunks=3, pause_seconds=0.4)) as site,
        pytest.raises(TransientError, match="ReadTimeout"),
    ):
        source(site, timeout_seconds=0.1, attempts=1).digest()


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply("no such thing " * 50, 404), "page 1: status 404: no such thing no such"),
        (Reply("", 302, {"Location": "/new"}), "use the new address: /new"),
        (Reply("[{", 200), "is no JSON"),
        (Reply(b"\xff\xfe", 200), "is no JSON"),
        (Reply('{"rows": [], "total": 3}'), "the reply has rows, total"),
        (Reply("[1, 2]"), "no list of objects as the whole reply"),
        (Reply("[]"), "there is nothing: no record"),
        (Reply('[{"kind": 1, "hight": 2}]'), "no record has width, paint.names.0; their keys are"),
        (
            Reply('[{"width": "wide", "paint": {"names": ["a"]}, "kind": 1}]'),
            "record 1, column width: 'wide'",
        ),
        (Reply('[{"width": 1, "paint": {"names": [[1]]}, "kind": 1}]'), "column colour: [1]"),
    ],
)
def test_an_answer_that_does_not_fit_is_told(reply, said):
    with serving(lambda _: reply) as site:
        assert said in source(site).refused()


def test_a_long_body_is_shown_by_its_beginning():
    with serving(lambda _: Reply("x" * 10_000, 404)) as site:
        assert len(source(site).refused()) < 600


def test_a_path_to_no_list_is_told():
    with serving(by_page) as site:
        settings = {"pagination": {"by": "page"}, "records": "data.rows"}
        assert "at 'data.rows'; the reply has data" in source(site, **settings).refused()


@pytest.mark.parametrize(
    ("answer", "pagination"),
    [
        (whole, {"by": "page"}),
        (lambda _: Reply('{"next": "a"}'), {"by": "cursor", "path": "next"}),
        (lambda _: Reply("[]", headers={"Link": "</items>; rel=next"}), {"by": "link"}),
    ],
)
def test_pages_that_repeat_are_an_error(answer, pagination):
    records = "" if pagination["by"] != "cursor" else "none"
    replies = answer if records == "" else lambda _: Reply('{"none": [], "next": "a"}')
    with serving(replies) as site:
        message = source(site, pagination=pagination, records=records).refused()
    assert "is the one before again" in message


def test_more_pages_than_allowed_are_an_error():
    answer, pagination, _ = WAYS["cursor"]
    with serving(answer) as site:
        made = source(site, pagination=pagination, records="data.items", maximum_pages=2)
        assert "more than 2 pages" in made.refused()


def test_a_link_to_another_host_is_not_followed():
    with serving(whole) as other:
        link = {"Link": f"<{other.url}/items>; rel=next"}
        with serving(lambda _: Reply(json.dumps(RECORDS), headers=link)) as site:
            assert "must not see the token" in source(site, pagination={"by": "link"}).refused()
        assert other.asked == []


TOKEN = "t0ken/with+signs="
BASIC = base64.b64encode(f"me:{TOKEN}".encode()).decode()
HEADERS = {
    "bearer": ("Authorization", f"Bearer {TOKEN}"),
    "basic": ("Authorization", f"Basic {BASIC}"),
    "header": ("X-API-Key", TOKEN),
}


@pytest.mark.parametrize("auth", HEADERS)
@pytest.mark.parametrize("by", ["connection", "token_variable"])
def test_who_asks_is_told_and_is_in_no_message(auth, by, monkeypatch):
    login = json.dumps({"conn_type": "http", "login": "me", "password": TOKEN})
    monkeypatch.setenv("AIRFLOW_CONN_SHOP", login)
    monkeypatch.setenv("SHOP_TOKEN", f"me:{TOKEN}" if auth == "basic" else f"{TOKEN}\n")
    settings = {"auth": auth, by: {"connection": "shop", "token_variable": "SHOP_TOKEN"}[by]}
    name, value = HEADERS[auth]
    with serving(whole) as site:
        assert len(source(site, **settings).read()) == 7
        assert site.asked[0].headers[name] == value
    with (
        serving(lambda request: Reply(f"no {request.headers[name]}", 401)) as site,
        pytest.raises(ConfigError, match="status 401: no") as caught,
    ):
        source(site, **settings).digest()
    told = "".join(traceback.format_exception(caught.value))
    assert TOKEN not in told
    assert BASIC not in told


def test_a_variable_in_the_address_is_filled_in_and_is_in_no_message(monkeypatch, caplog):
    monkeypatch.setenv("SHOP_KEY", "s3cret")
    caplog.set_level("DEBUG")
    with serving(lambda request: Reply(f"who is {request.query['key']}?", 400)) as site:
        with pytest.raises(DataError) as caught:
            source(site, "/items?key=${SHOP_KEY}").digest()
        assert site.asked[0].query == {"key": "s3cret"}
    assert "who is ***?" in str(caught.value)
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"url": "http://me:hunter2@h/"}, "me:***@h"),
        ({"url": "http://h/?api_key=hunter2&a=b"}, "api_key=***&a=b"),
        ({"url": "http://h/", "token": "hunter2"}, "'***'"),
        ({"url": "http://h/", "token_variable": "hunter2"}, "name of an environment variable"),
    ],
)
def test_a_secret_in_the_pipeline_file_is_refused_and_not_repeated(small, settings, said):
    made = small(source={"kind": "http_api"} | settings)
    with pytest.raises(ConfigError) as caught:
        config.load(made.yaml)
    assert said in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"url": "ftp://h/"}, "url"),
        ({"url": "http://h/", "connection": "a", "token_variable": "B"}, "not both"),
        ({"url": "http://h/", "pagination": {"by": "magic"}}, "'page', 'cursor', 'link'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        http_api.Params.model_validate(settings)


def test_an_address_that_is_none_is_told():
    made = Source({"kind": "http_api", "url": "http://h:notaport/"})
    assert "is no address" in made.refused()


def test_a_port_and_an_at_sign_in_the_path_are_no_password():
    assert http_api.Params(url="http://h:8080/@me/items").url


def test_pixels_may_be_named_by_their_path():
    records = [{"scan": [1, 2], "kind": 0}, {"scan": [5, 6], "kind": 1}]
    with serving(lambda _: Reply(json.dumps(records))) as site:
        fields = {"image[0]": "scan.0", "image[1]": "scan.1"}
        made = Source({"kind": "http_api", "url": site.url, "fields": fields})
        made.columns = {"image": {"type": "image", "shape": [1, 2]}}
        assert made.read()["image[1]"].tolist() == [2, 6]


def test_keys_that_are_not_declared_are_named():
    with serving(whole) as site:
        assert source(site).undeclared() == ["id"]


def test_the_digest_is_that_of_the_records():
    with serving(whole) as one, serving(lambda _: Reply(json.dumps(RECORDS, indent=2))) as other:
        assert source(one).digest() == source(other, "/elsewhere").digest()
        other.answer = lambda _: Reply(json.dumps(RECORDS[:-1]))
        assert source(one).digest() != source(other).digest()
