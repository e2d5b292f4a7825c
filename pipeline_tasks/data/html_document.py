"""HTML pages as text, links and tables."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html.parser import HTMLParser

UNREAD = {"script", "style", "noscript", "title"}
INLINE = {"a", "b", "i", "em", "strong", "span", "sub", "sup", "small", "code", "u", "mark"}
Cell = tuple[list[str], int, int]  # its text, and how many columns and rows it spans


class Document(HTMLParser):
    """What an HTML page says, even if it is not quite HTML."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.title, self.base, self._texts = "", "", list[str]()
        self.links, self.meta = list[str](), dict[str, str]()
        self._tables: list[list[list[Cell]]] = []
        self._open: list[list[list[Cell]]] = []
        self._inside = ""
        self.feed(text + "\n")
        self.text = _line(self._texts)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self._inside = tag if tag in UNREAD else self._inside
        self.handle_data("" if tag in INLINE else " ")
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag == "base":
            self.base = self.base or given.get("href", "")
        elif tag == "meta" and given.get("name"):
            self.meta[given["name"]] = given.get("content", "")
        elif tag == "table":
            self._tables.append([])
            self._open.append(self._tables[-1])
        elif tag == "tr" and self._open:
            self._open[-1].append([])
        elif tag in ("td", "th") and self._open:
            self._open[-1] += [] if self._open[-1] else [[]]
            self._open[-1][-1].append(
                ([], _span(given.get("colspan")), _span(given.get("rowspan")))
            )

    def handle_endtag(self, tag: str) -> None:
        self._inside = "" if tag == self._inside else self._inside
        self.handle_data("" if tag in INLINE else " ")
        if tag == "table" and self._open:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._inside == "title":
            self.title = _line([self.title, data])
        elif not self._inside:
            self._texts.append(data)
            if self._open and self._open[-1] and self._open[-1][-1]:
                self._open[-1][-1][-1][0].append(data)

    def grids(self) -> list[list[list[str]]]:
        """Each table that has rows, as rows of texts; a cell that spans others is in each."""
        return [grid for table in self._tables if (grid := _grid(table))]


def _span(text: str | None) -> int:
    return min(max(int(text), 1), 1000) if text and re.fullmatch("[0-9]{1,5}", text) else 1


def _grid(table: list[list[Cell]]) -> list[list[str]]:
    found: list[list[str]] = []
    above: dict[int, tuple[int, str]] = {}
    for cells in table:
        row, waiting = list[str](), list(cells)
        while waiting or len(row) in above:
            if len(row) in above:
                (left, cell), columns = above.pop(len(row)), 1
            else:
                texts, columns, left = waiting.pop(0)
                cell = _line(texts)
            for _ in range(columns):
                above |= {len(row): (left - 1, cell)} if left > 1 else {}
                row.append(cell)
        found += [row] if row else []
    return found


def _line(texts: Iterable[str]) -> str:
    return " ".join("".join(texts).split())
