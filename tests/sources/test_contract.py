"""What every file in sources/ promises, of every file in sources/."""

from __future__ import annotations

import gzip
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipeline_tasks.core import registry
from pipeline_tasks.data import rows, tables
from tests.sources.made import LABEL, Source
from tests.sources.site import Reply, serving

ROWS = [{"width": n / 2, "colour": ["red", "green"][n % 2], "kind": n % 2} for n in range(6)]
IMAGE = {"image": {"type": "image", "shape": [8, 8]}}
DIGITS = {"name": "digit", "classes": list(range(10))}


@dataclass
class Case:
    """A source, the same rows at another place, and how its content changes."""

    source: Source
    moved: Source | None
    change: Callable[[], None]


def of_file(folder: Path, kind: str, name: str, write: Callable[[Path, float], None]) -> Case:
    paths = folder / name, folder / f"moved-{name}"
    for path in paths:
        write(path, 1.0)
    source, moved = (Source({"kind": kind, "path": str(path)}) for path in paths)
    return Case(source, moved, lambda: write(paths[0], 2.0))


def frame(times: float) -> pd.DataFrame:
    content = pd.DataFrame(ROWS)
    return content.assign(width=content["width"] * times)


def write_csv(path: Path, times: float) -> None:
    path.write_bytes(gzip.compress(frame(times).to_csv(index=False).encode()))


def write_sqlite(path: Path, times: float) -> None:
    connected = sqlite3.connect(path)
    frame(times).to_sql("orders", connected, if_exists="replace", index=False)
    connected.close()


def write_images(path: Path, times: float) -> None:
    for index in range(3):
        for kind in (0, 1):
            file = path / str(kind) / f"{index}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.full((8, 8), 30 * kind + 10 * index + times, np.uint8)
            Image.fromarray(pixels).save(file)


def write_mnist(path: Path, times: float) -> None:
    images, labels = np.full((4, 28, 28), int(times), np.uint8), np.arange(4, dtype=np.uint8)
    np.savez(path, x_train=images, y_train=labels, x_test=images, y_test=labels + 4)


def chosen(settings: dict, changed: dict, **declared: object) -> Case:
    source = Source(settings, **declared)
    return Case(source, None, lambda: source.settings.update(changed))


@contextmanager
def of_site(kind: str, write: Callable[[float], str], **settings: object) -> Iterator[Case]:
    times = [1.0]
    headers = {"Content-Type": "text/html"}
    with serving(lambda request: Reply(write(times[0]), headers=headers)) as site:
        made = []
        for path in ("/rows", "/moved"):
            url = {"url": site.url + path} if kind == "http_api" else {"urls": [site.url + path]}
            made.append(Source({"kind": kind, **url, **settings}))
        yield Case(*made, lambda: times.append(times.pop() + 1))


@contextmanager
def case(kind: str, folder: Path) -> Iterator[Case]:
    """A case of each kind of source. A new file in sources/ needs one here."""
    if kind == "csv":
        yield of_file(folder, kind, "rows.csv.gz", write_csv)
    elif kind == "parquet":
        yield of_file(folder, kind, "rows.parquet", lambda path, n: frame(n).to_parquet(path))
    elif kind == "sql":
        made = of_file(folder, kind, "shop.db", write_sqlite)
        for one in (made.source, made.moved):
            url = f"sqlite:///{one.settings['path']}"
            one.settings = {"kind": kind, "url": url, "table": "orders"}
        yield made
    elif kind == "http_api":
        with of_site(kind, lambda n: frame(n).to_json(orient="records")) as made:
            yield made
    elif kind == "crawl":
        html = lambda n: frame(n).to_html(index=False)  # noqa: E731
        with of_site(kind, html, table=0, requests_per_second=10_000) as made:
            yield made
    elif kind == "image_folder":
        made = of_file(folder, kind, "images", write_images)
        for one in (made.source, made.moved):
            one.columns = IMAGE
        yield made
    elif kind == "mnist":
        made = of_file(folder, kind, "mnist.npz", write_mnist)
        for one in (made.source, made.moved):
            one.columns, one.label = {"image": {"type": "image", "shape": [28, 28]}}, DIGITS
        yield made
    elif kind == "digits":
        yield chosen({"kind": kind, "last": 99}, {"last": 98}, columns=IMAGE, label=DIGITS)
    elif kind == "sklearn":
        settings = {"kind": kind, "name": "breast_cancer"}
        columns = {
            name.replace(" ", "_"): {"type": "number", "from": name}
            for name in ("mean radius", "mean area")
        }
        yield chosen(settings, {"name": "iris"}, columns=columns, label=LABEL)
    else:
        pytest.fail(f"sources/{kind}.py needs a case in {__file__}")


@pytest.fixture(params=registry.known("sources"))
def made(request, tmp_path):
    with case(request.param, tmp_path) as found:
        yield found


def test_the_digest_is_that_of_the_content(made):
    first = made.source.digest()
    assert isinstance(first, str)
    assert first
    assert made.source.digest() == first
    if made.moved is not None:
        assert made.moved.digest() == first
    made.change()
    assert made.source.digest() != first


def test_the_same_content_is_kept_as_the_same_bytes(made, tmp_path):
    first = made.source.fetch(tmp_path / "first")
    assert first
    assert made.source.fetch(tmp_path / "second") == first


def test_the_declared_columns_come_in_their_declared_types(made):
    config, found = made.source.config, made.source.read()
    assert list(found) == [*rows.frame_columns(config.columns), config.label.name]
    assert len(found) > 3
    assert isinstance(found.index, pd.RangeIndex)
    for name, column in config.columns.items():
        for each in rows.frame_columns({name: column}):
            expected = {"number": ["float64"], "image": ["uint8", "float32"]}
            assert str(found[each].dtype) in expected.get(column.type, ["str"])
    assert set(found[config.label.name]) <= set(config.label.classes)
    assert found[config.label.name].nunique() > 1


def test_fetching_counts_the_rows(made):
    assert made.source.count() == len(made.source.read())


def test_every_row_has_a_place_of_its_own(made):
    places = [made.source.place(row) for row in range(len(made.source.read()))]
    assert all(places)
    assert len(set(places)) == len(places)


def test_an_example_is_in_the_docstring_of_its_settings(made):
    kind = made.source.settings["kind"]
    if kind != "digits":
        assert f"source: {{kind: {kind}, " in made.source.part.Params.__doc__


def test_nothing_is_left_behind_outside_of_the_folder(made, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    made.source.digest()
    made.source.fetch(tmp_path / "kept")
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_frame_s_names_are_those_that_the_other_steps_use(made):
    config = made.source.config
    assert list(tables.kinds(config)) == [*rows.frame_columns(config.columns), config.label.name]
