"""A crawl of a real site: what is asked for, what never is, and what becomes a row."""

from __future__ import annotations

import pytest

from pipeline_tasks.core.errors import DataError, TransientError
from pipeline_tasks.sources import crawl
from tests.sources.made import Source
from tests.sources.site import Reply, Request, serving

HTML = {"Content-Type": "text/html; charset=utf-8"}
ROWS = """<table><tr><th>name<th>other</tr><tr><td>a<td>b</table>
<table>
 <thead><tr><th>width</th><th>col<b>our</b></th><th>kind</th></tr></thead>
 <tr><td> 1.5 <td>r&eacute;d<script>x()</script><td>0
 <tr><td>-</td><td>light<br>green</td><td>1</td></tr>
</table>"""


def site_of(pages: dict[str, object]):
    """A server of these pages; others are not there."""

    def answer(request: Request) -> Reply:
        found = pages.get(request.path, Reply("none", 404))
        return found if isinstance(found, Reply) else Reply(str(found), headers=HTML)

    return serving(answer)


def source(site, *paths, **more):
    settings = {"kind": "crawl", "urls": [site.url + path for path in paths or ("/",)]}
    settings |= {"requests_per_second": 10_000, "backoff_seconds": 0.001, "attempts": 2}
    settings |= {"table": "width", "missing": ["-"]} | more
    return Source({key: value for key, value in settings.items() if value is not None})


def row(width, colour="red", kind=1):
    return f"<table><tr><td>width<td>colour<td>kind<tr><td>{width}<td>{colour}<td>{kind}</table>"


def link(*targets):
    return "".join(f'<p><a href="{target}">more</a>' for target in targets)


@pytest.mark.parametrize("table", ["width", "colour", 1])
def test_a_table_is_found_by_its_header_or_number(table):
    with site_of({"/": ROWS}) as site:
        made = source(site, table=table)
        frame = made.read()
        assert made.place(1) == f"{site.url}/ row 1 (from 0)"
    assert frame["width"].fillna(0).tolist() == [1.5, 0]
    assert frame["colour"].tolist() == ["réd", "light green"]
    assert frame["kind"].tolist() == [0, 1]


def test_cells_that_span_others_are_in_each_of_them():
    spans = (
        "<table><tr><th>width<th>colour<th>kind<tr><td>1<td rowspan=2>red<td>0"
        '<tr><td>2<td>1<tr><td colspan="2">3<td>1<tr><td colspan=x>4<td>green<td>0</table>'
    )
    with site_of({"/": spans}) as site:
        frame = source(site).read()
    assert frame["width"].tolist() == [1, 2, 3, 4]
    assert frame["colour"].tolist() == ["red", "red", "3", "green"]
    assert frame["kind"].tolist() == [0, 1, 1, 0]


def test_links_are_followed_to_the_depth_in_order_and_once(tmp_path):
    pages = {
        "/": link("b?x=1#part", "/a", "/skip", "mailto:me@h", "javascript:x()", "/") + row(1),
        "/a": row(2) + link("/c", "/a", "/b?x=1"),
        "/b": row(3),
        "/c": row(4) + link("/d"),
        "/d": row(5),
        "/skip": row(6),
    }
    with site_of(pages) as site:
        made = source(site, depth=2, follow="/[abcd]")
        assert made.read()["width"].tolist() == [1, 3, 2, 4]
        assert site.paths == ["/robots.txt", "/", "/b", "/a", "/c"]
        kept = made.fetch(tmp_path)
    assert kept["page-00000.html"].decode() == pages["/"]
    assert len(kept) == 5


def test_the_number_of_pages_is_limited():
    with site_of({"/": link("/a", "/b") + row(1), "/a": row(2), "/b": row(3)}) as site:
        assert source(site, depth=1, pages=2).read()["width"].tolist() == [1, 2]
        assert "/b" not in site.paths


def test_what_robots_txt_forbids_is_never_asked_for():
    robots = "User-agent: *\nDisallow: /all\n\nUser-agent: tester\nDisallow: /private\n"
    pages = {"/robots.txt": robots, "/": link("/private/a", "/all") + row(1)}
    pages |= {"/all": row(2), "/private/a": row(3)}
    with site_of(pages) as site:
        assert source(site, depth=1, agent="tester").read()["width"].tolist() == [1, 2]
        assert site.paths == ["/robots.txt", "/", "/all"]
        assert {request.headers["User-Agent"] for request in site.asked} == {"tester"}
        site.asked.clear()
        message = source(site, "/private/a", agent="tester").refused()
        assert "robots.txt does not allow it" in message
        assert site.paths == ["/robots.txt"]


@pytest.mark.parametrize("status", [401, 403])
def test_a_site_that_hides_its_robots_txt_is_left_alone(status):
    with site_of({"/robots.txt": Reply("", status), "/": row(1)}) as site:
        assert "robots.txt does not allow it" in source(site).refused()
        assert site.paths == ["/robots.txt"]


def test_a_robots_txt_that_does_not_answer_is_waited_for():
    with site_of({"/robots.txt": Reply("", 500), "/": row(1)}) as site:
        with pytest.raises(TransientError, match=r"robots\.txt: status 500"):
            source(site).digest()
        assert site.paths == ["/robots.txt"] * 2


def test_another_host_is_never_asked():
    with site_of({"/": row(9), "/away": row(9)}) as other:
        pages = {
            "/": link(other.url, f"//{other.url[7:]}/", "/away", "/here") + row(1),
            "/away": Reply("", 302, {"Location": other.url + "/away"}),
            "/here": Reply("", 301, {"Location": "there"}),
            "/there": row(2),
        }
        with site_of(pages) as site:
            made = source(site, depth=1)
            assert made.read()["width"].tolist() == [1, 2]
            assert "/away" in site.paths
            message = source(site, "/away").refused()
            assert f"it redirects to {other.url}/away" in message
        assert other.asked == []


def test_redirects_in_a_circle_end():
    pages = {"/": Reply("", 302, {"Location": "/a"}), "/a": Reply("", 302, {"Location": "/"})}
    with site_of(pages) as site:
        assert "it redirects to" in source(site).refused()
        assert len(site.asked) == 3


def test_requests_keep_their_distance(monkeypatch):
    waits = []
    monkeypatch.setattr(crawl.time, "sleep", waits.append)
    robots = "User-agent: *\nCrawl-delay: 30\n"
    with site_of({"/robots.txt": robots, "/": row(1), "/a": row(2)}) as site:
        source(site, "/", "/a", requests_per_second=0.1).digest()
    real = [seconds for seconds in waits if seconds > 0]
    assert len(real) == 2
    assert all(10 < seconds <= 30 for seconds in real)


def test_a_page_that_is_huge_is_an_error():
    with site_of({"/": Reply("x" * 1000, headers=HTML, chunks=50)}) as site:
        message = source(site, page_bytes=5000).refused()
    assert "has more than 5000 bytes" in message


def test_a_page_that_is_slow_is_worth_another_try():
    slow = Reply("x", headers=HTML, chunks=50, pause_seconds=0.05)
    with site_of({"/": slow}) as site:
        with pytest.raises(TransientError, match=r"not here after 0\.2 s, after 2 of 2 tries"):
            source(site, timeout_seconds=0.2).digest()
        assert site.paths.count("/") == 2


def test_what_is_not_there_or_no_page_is_left_out_unless_it_is_the_start():
    image = Reply(b"\x89PNG", headers={"Content-Type": "image/png"})
    with site_of({"/": link("/gone", "/image") + row(1), "/image": image}) as site:
        assert len(source(site, depth=1).read()) == 1
        assert "status 404" in source(site, "/gone").refused()
        assert "status 200, and no text" in source(site, "/image").refused()


def sitemap(*urls, tag="urlset"):
    return f"<{tag}>" + "".join(f"<url><loc> {url} </loc></url>" for url in urls) + f"</{tag}>"


def test_a_sitemap_names_pages_and_other_sitemaps():
    pages: dict[str, object] = {"/a": row(1), "/b": row(2), "/c": row(3)}
    with site_of({"/away": row(9)}) as other, site_of(pages) as site:
        index = sitemap(site.url + "/one", other.url + "/two", tag="sitemapindex")
        pages["/map"] = index
        pages["/one"] = sitemap(
            site.url + "/a?x=1&amp;y=2",
            other.url + "/away",
            f"<![CDATA[{site.url}/b]]>",
            site.url + "/c",
        )
        made = source(site, urls=None, sitemap=site.url + "/map", follow="/[ab]")
        assert made.read()["width"].tolist() == [1, 2]
        assert {"x": "1", "y": "2"} in [request.query for request in site.asked]
        assert other.asked == []
        pages["/map"] = sitemap()
        assert "names no page that is wanted" in made.refused()


def test_a_page_may_be_a_row():
    page = (
        "<title>All about\n red</title><meta name=kind content=1><style>p {}</style>"
        "<p>Red &amp; <b>bright</b>er<p>more"
    )
    with site_of({"/en/red": page, "/de/green": page.replace("content=1", "content=0")}) as site:
        made = source(site, "/en/red", "/de/green", table=None, from_url={"language": "^/(..)/"})
        made.columns = {name: {"type": "text"} for name in ("title", "text", "language")}
        frame = made.read()
        assert made.place(1) == site.url + "/de/green"
        made.columns = {"author": {"type": "text"}}
        assert "no record has author; their keys are kind, title, text" in made.refused()
    assert frame["title"].tolist() == ["All about red"] * 2
    assert frame["text"].tolist() == ["Red & brighter more"] * 2
    assert frame["language"].tolist() == ["en", "de"]
    assert frame["kind"].tolist() == [1, 0]


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("<p>nothing", "no page has rows in a table 'width'"),
        ("<table><tr><td>width</table>", "no page has rows in a table 'width'"),
        (row("wide"), "/ row 0 (from 0), column width: 'wide'"),
        (row("<td>1"), "has 4 cells"),
        (row(1).replace("colour", "width"), "has the column width twice"),
        (row(1).replace("colour", "hue"), "no record has colour; their keys are width, hue, kind"),
    ],
)
def test_a_table_that_does_not_fit_is_told(page, said):
    with site_of({"/": page}) as site:
        assert said in source(site).refused()


def test_columns_that_are_not_declared_are_named():
    with site_of({"/": row(1).replace("colour", "hue")}) as site:
        assert source(site).undeclared() == ["hue"]


def test_the_digest_is_that_of_the_rows():
    with site_of({"/": row(1)}) as one, site_of({"/x": "<p>12:03:17" + row(1)}) as other:
        first = source(one).digest()
        assert source(other, "/x").digest() == first
        one.answer = lambda _: Reply(row(2), headers=HTML)
        with pytest.raises(DataError):
            source(one, "/robots.txt", table=99).read()
        assert source(one).digest() != first


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "either `urls` or `sitemap`"),
        ({"urls": ["ftp://h/"]}, "no address"),
        ({"urls": ["http://me@h/"]}, "no address"),
        ({"urls": ["http://h/"], "follow": "("}, "not a regular expression"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, said):
    with pytest.raises(ValueError, match=said):
        crawl.Params.model_validate(settings)


def test_nobody_there_is_worth_another_try():
    with site_of({}) as site:
        gone = source(site)
    with pytest.raises(TransientError, match="ConnectError"):
        gone.digest()
