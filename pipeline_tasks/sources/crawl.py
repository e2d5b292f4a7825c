"""Pages of a web site: the rows of an HTML table in each, or one row for each page."""

from __future__ import annotations

import hashlib
import html
import json
import logging
import re
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self
from urllib.parse import urldefrag, urljoin, urlsplit
from urllib.robotparser import RobotFileParser

from pydantic import Field, model_validator

from pipeline_tasks import sources
from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core.errors import DataError
from pipeline_tasks.data import html_document, tables
from pipeline_tasks.sections.column_rules import Expression

if TYPE_CHECKING:
    import httpx
    import pandas as pd

log = logging.getLogger(__name__)

INDEX = "pages.jsonl"
OTHER = "choose another table with source.table"
REDIRECTS, SITEMAPS = 5, 50
NO_ACCESS, CLOSED = (401, 403), (b"", b"User-agent: *\nDisallow: /")
PLACE = r"(?s)<loc>\s*(?:<!\[CDATA\[)?\s*(.*?)\s*(?:\]\]>)?\s*</loc>"


class Params(sources.Patience):
    """Where to start, how far to go, how gently, and what a row is.

    source: {kind: crawl, urls: ["https://lab.example/results/"], depth: 1, follow: "/results/",
             table: "Wavelength", missing: ["-"]}
    """

    urls: tuple[str, ...] = Field((), description="Pages to start from; nothing leaves their host.")
    sitemap: str | None = Field(None, description="The address of a sitemap, instead of `urls`.")
    depth: int = Field(0, ge=0, description="How many links away from the start pages may be.")
    follow: Expression = Field("", description="What the address of a page that is found matches.")
    table: int | str | None = Field(
        None,
        description="The table's number in its page, from 0, or a text in its header. Without it, "
        "each page is a row: `title`, `text`, and the content of each <meta name=...>.",
    )
    from_url: dict[str, Expression] = Field(
        {}, description="Columns from the page's address: the first group of an expression."
    )
    missing: tuple[str, ...] = Field((), description="Texts that mean: no value.")
    pages: int = Field(100, ge=1, description="Pages that are kept, at most.")
    page_bytes: int = Field(5_000_000, ge=1, description="A larger page is an error.")
    requests_per_second: float = Field(1.0, gt=0, description="robots.txt may ask for fewer.")
    agent: str = Field("perennial", min_length=1, description="Who asks; robots.txt may name it.")

    @model_validator(mode="before")
    @classmethod
    def _has_no_secrets(cls, content: object) -> object:
        return sources.refuse_secrets(content)

    @model_validator(mode="after")
    def _starts_somewhere(self) -> Self:
        if bool(self.urls) == bool(self.sitemap):
            raise ValueError("needs either `urls` or `sitemap`")
        for url in (*self.urls, self.sitemap or self.urls[0]):
            if not re.match(r"https?://[^/@]+(/|$)", url):
                raise ValueError(f"{url!r} is no address such as https://host/page")
        return self


class Page(NamedTuple):
    url: str
    encoding: str
    content: bytes

    def text(self) -> str:
        return self.content.decode(self.encoding, errors="replace")


def digest(params: Params) -> str:
    """The digest of the rows, whatever else is in the pages; each is asked for, and none kept."""
    found = hashlib.sha256()
    for page in _Crawler(params).pages():
        for record in _records(params, page):
            found.update(json.dumps(record, sort_keys=True).encode() + b"\n")
    return found.hexdigest()


def fetch(params: Params, folder: Path) -> int:
    """Keep the pages as they came, and their addresses in pages.jsonl."""
    rows = 0
    with (folder / INDEX).open("w") as index:
        for number, page in enumerate(_Crawler(params).pages()):
            name = f"page-{number:05}.html"
            (folder / name).write_bytes(page.content)
            index.write(json.dumps([name, page.url, page.encoding]) + "\n")
            rows += len(_records(params, page))
    return rows


def read(params: Params, folder: Path, config: PipelineConfig) -> pd.DataFrame:
    """The declared columns of all rows, page by page, in their declared types.

    Raises DataError that names the page, row, column and value.
    """
    records, places = [], []
    for page in _kept(folder):
        for row, record in enumerate(_records(params, page)):
            records.append({k: None if v in params.missing else v for k, v in record.items()})
            places.append(page.url + ("" if params.table is None else f" row {row} (from 0)"))
    if not records:
        raise tables.empty(_title(params), f"no page has rows in a table {params.table!r}")
    _seen[params.model_dump_json()] = places
    return tables.of_records(records, config, fields={}, place=places.__getitem__)


# Where the rows came from that this process has read: nobody crawls again to name a place.
_seen: dict[str, list[str]] = {}


def undeclared(params: Params, folder: Path, config: PipelineConfig) -> list[str]:
    """Columns of the tables that the pipeline file does not declare."""
    records = (record for page in _kept(folder) for record in _records(params, page))
    names = dict.fromkeys(name for record in records for name in record)
    return [] if params.table is None else tables.undeclared(names, config)


def place(params: Params, row: int) -> str:
    """How a person finds row number `row` (from 0): the page, and the row of its table."""
    places = _seen.get(params.model_dump_json(), [])
    return places[row] if row < len(places) else f"{_title(params)} row {row} (from 0)"


def _title(params: Params) -> str:
    return f"what {params.sitemap or params.urls[0]} leads to"


def _kept(folder: Path) -> Iterator[Page]:
    for line in (folder / INDEX).read_text().splitlines():
        name, url, encoding = json.loads(line)
        yield Page(url, encoding, (folder / name).read_bytes())


def _records(params: Params, page: Page) -> list[dict[str, str]]:
    document = html_document.Document(page.text())
    path = urlsplit(page.url)._replace(scheme="", netloc="").geturl()
    matches = {name: re.search(pattern, path) for name, pattern in params.from_url.items()}
    found = {
        name: (match[1] if match.re.groups else match[0]) if match else ""
        for name, match in matches.items()
    }
    if params.table is None:
        return [{**document.meta, "title": document.title, "text": document.text, **found}]
    for number, grid in enumerate(document.grids()):
        is_named = isinstance(params.table, str) and any(params.table in name for name in grid[0])
        if number == params.table or is_named:
            return [record | found for record in _of_grid(page, grid)]
    return []


def _of_grid(page: Page, grid: list[list[str]]) -> Iterator[dict[str, str]]:
    header = grid[0]
    named = [name for name in header if name]
    if repeated := sorted({name for name in named if named.count(name) > 1}):
        raise DataError(
            f"{page.url}: the table has the column {repeated[0]} twice: {', '.join(header)}",
            expected="a name of its own for each column",
            fix=OTHER,
        )
    for row, cells in enumerate(grid[1:]):
        if len(cells) > len(header):
            raise DataError(
                f"{page.url} row {row} (from 0) has {len(cells)} cells: {', '.join(cells)}",
                expected=f"{len(header)} at most: {', '.join(header)}",
                fix=OTHER,
            )
        padded = cells + [""] * (len(header) - len(cells))
        if cells != header:
            yield {name: cell for name, cell in zip(header, padded, strict=True) if name}


class _Crawler:
    """One visit of a site: what is known of it, and when it was asked last."""

    def __init__(self, params: Params) -> None:
        self.params, self.robots = params, dict[str, RobotFileParser]()
        start = [params.sitemap] if params.sitemap else params.urls
        self.hosts = {urlsplit(url).netloc for url in start}
        self.seen: set[str] = set()
        self.asked = 0.0

    def pages(self) -> Iterator[Page]:
        """Every page, in the order in which links to them are found."""
        import httpx

        agent = {"User-Agent": self.params.agent}
        with httpx.Client(headers=agent, timeout=self.params.timeout_seconds) as self.client:
            waiting, kept = deque((url, 0) for url in self._starts()), 0
            while waiting and kept < self.params.pages:
                url, depth = waiting.popleft()
                page = self._page(url, must_be=not depth and not self.params.sitemap)
                if page is not None:
                    kept += 1
                    yield page
                    links = self._links(page) if depth < self.params.depth else ()
                    waiting += [(link, depth + 1) for link in links]
        log.info("%s pages of %s; %s more were known", kept, _title(self.params), len(waiting))

    def _starts(self) -> list[str]:
        if self.params.sitemap is None:
            return [url for url in self.params.urls if self._is_new(url)]
        waiting, found = [self.params.sitemap], list[str]()
        for sitemap in waiting:  # it grows, as some only name others
            page = self._page(sitemap, must_be=True)
            text = page.text() if page else ""
            urls = [html.unescape(one) for one in re.findall(PLACE, text)]
            if "<sitemapindex" in text:
                here = [url for url in urls if urlsplit(url).netloc in self.hosts]
                waiting += [url for url in here if self._is_new(url)][:SITEMAPS]
            else:
                found += [url for url in urls if self._is_wanted(url)]
        if not found:
            raise tables.empty(self.params.sitemap, "the sitemap names no page that is wanted")
        return found

    def _links(self, page: Page) -> list[str]:
        document = html_document.Document(page.text())
        base = urljoin(page.url, document.base)
        links = (urldefrag(urljoin(base, link)).url for link in document.links)
        return [link for link in links if self._is_wanted(link)]

    def _is_wanted(self, url: str) -> bool:
        parts = urlsplit(url)
        is_here = parts.scheme in ("http", "https") and parts.netloc in self.hosts
        return is_here and bool(re.search(self.params.follow, url)) and self._is_new(url)

    def _is_new(self, url: str) -> bool:
        is_new = url not in self.seen
        self.seen.add(url)
        return is_new

    def _page(self, url: str, *, must_be: bool) -> Page | None:
        """A page, or None where it is not to be had, which is an error if it must be."""
        problem = ""
        for _ in range(REDIRECTS + 1):
            if not self._may_ask(url):
                problem = "robots.txt does not allow it"
                break
            response, content = self._ask(url)
            if response.is_success and content:
                return Page(url, response.encoding or "utf-8", content)
            target = urldefrag(urljoin(url, response.headers.get("Location", ""))).url
            problem = f"status {response.status_code}" + ("" if content else ", and no text")
            if not response.has_redirect_location:
                break
            problem = f"it redirects to {target}"
            if urlsplit(target).netloc not in self.hosts or not self._is_new(target):
                break
            url = target
        if must_be:
            fix = "mend source.urls or source.sitemap"
            raise DataError(f"{url}: {problem}", expected="a page in HTML, on this host", fix=fix)
        log.warning("%s: left out: %s", url, problem)
        return None

    def _may_ask(self, url: str) -> bool:
        """What robots.txt of the page's host says (RFC 9309)."""
        if (origin := urljoin(url, "/")) not in self.robots:
            rules = self.robots[origin] = RobotFileParser()
            response, content = self._ask(f"{origin}robots.txt")
            text = content if response.is_success else CLOSED[response.status_code in NO_ACCESS]
            rules.parse(text.decode(errors="replace").splitlines())
        return self.robots[origin].can_fetch(self.params.agent, url)

    def _ask(self, url: str) -> tuple[httpx.Response, bytes]:
        params, rules = self.params, self.robots.get(urljoin(url, "/"))
        asked = float(rules.crawl_delay(params.agent) or 0) if rules and rules.mtime() else 0.0
        wait = max(1 / params.requests_per_second, asked)

        def once() -> tuple[httpx.Response, bytes]:
            time.sleep(max(0.0, self.asked + wait - time.monotonic()))
            self.asked = time.monotonic()
            size, seconds = params.page_bytes, params.timeout_seconds
            return sources.whole(self.client, url, limit_bytes=size, limit_seconds=seconds)

        return sources.patiently(once, params, what=url)
