"""The log on the disk: lines while they are written, Parquet afterwards, the same rows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pipeline_tasks import observations
from pipeline_tasks.observations import rotation, segments
from pipeline_tasks.observations.segments import Writer

DAY = "2026-03-05"


def line(number: int, *, day: str = DAY, **changes: object) -> dict[str, object]:
    content = {
        "id": f"{number}-0",
        "time": f"{day}T12:00:00.{number:03}Z",
        "version": 1,
        "inputs": {"width": number / 4, "height": None, "plan": "2026-01-01", "n": number},
        "outputs": {"label": 1, "probabilities": [0.25, 0.75]},
        "latency_ms": 1.5,
        "server": "7-abc",
        "sequence": number,
        "model": "small",
    }
    return content | changes


def write(folder: Path, *lines: dict[str, object], kind: str = "predictions", name="a") -> Path:
    path = folder / kind / str(lines[0]["time"])[:10] / f"{name}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(one) + "\n" for one in lines))
    return path


def read(folder: Path, **wanted: str) -> list[observations.Prediction]:
    return sorted(observations.predictions(folder, **wanted), key=lambda one: (one.id, one.version))


SHAPES = {
    "flat": [{"width": 0.5, "plan": "basic", "n": 3}, {"width": None, "plan": "", "n": -1}],
    "images": [{"scan": [[0.0, 1.5], [2.0, None]]}, {"scan": [[4.0, 1.5], [2.0, 3.0]]}],
    "other types from row to row": [{"x": "text"}, {"x": 1.5}],
    "first missing text": [{"x": None, "y": 1}, {"x": "text", "y": 2}],
    "nothing": [{}, {}],
    "a name with a dot": [{"a.b": 1.0}, {"a.b": None}],
    "large": [{"x": 2**62}, {"x": 2**80}],
}


@pytest.mark.parametrize("minute", [0, 1, 7, 30, 59])
def test_a_segment_is_read_from_about_a_moment_on(tmp_path, minute):
    lines = [
        b'{"id": "%d", "time": "%sT12:%02d:%02d.000Z", "label": 1, "text": "%s"}\n'
        % (number, DAY.encode(), number // 600, number // 10 % 60, b"x" * (number % 97))
        for number in range(36_000)
    ]
    path = tmp_path / "a.jsonl"
    whole = b"".join(lines)
    path.write_bytes(whole + b'{"id": "torn')
    since = f"{DAY}T12:{minute:02}:30.000Z"
    found = segments.ending(path, since)
    needed = b"".join(lines[max(600 * minute + 300 - 10 * int(segments.STEP_SECONDS), 0) :])
    assert whole.endswith(found)
    assert len(needed) <= len(found) <= len(needed) + segments.STEP_BYTES
    assert segments.ending(path, "") == whole


@pytest.mark.parametrize("inputs", SHAPES.values(), ids=SHAPES)
def test_parquet_has_the_rows_that_the_lines_had(tmp_path, inputs):
    write(tmp_path, *(line(number, inputs=one) for number, one in enumerate(inputs)))
    before = read(tmp_path)
    assert observations.rotate(tmp_path) == 2
    assert not list(tmp_path.rglob("*.jsonl"))
    assert read(tmp_path) == before
    assert [one.inputs for one in before] == inputs


def test_parquet_is_by_date_and_version_with_typed_columns(tmp_path):
    from pyarrow import parquet

    write(tmp_path, line(1), line(2, version=2), line(3))
    write(tmp_path, line(4, day="2026-03-06"))
    observations.rotate(tmp_path)
    found = {str(path.relative_to(tmp_path)): path for path in tmp_path.rglob("*.parquet")}
    assert sorted(found) == [
        "predictions/date=2026-03-05/version=1/a.parquet",
        "predictions/date=2026-03-05/version=2/a.parquet",
        "predictions/date=2026-03-06/version=1/a.parquet",
    ]
    schema = parquet.read_schema(found["predictions/date=2026-03-05/version=1/a.parquet"])
    types = {field.name: str(field.type) for field in schema.field("inputs").type}
    assert types == {"width": "double", "height": "double", "plan": "string", "n": "int64"}
    assert "version" not in schema.names
    assert [one.version for one in read(tmp_path)] == [1, 2, 1, 1]


def test_a_torn_or_damaged_line_costs_itself_alone(tmp_path, caplog):
    path = write(tmp_path, line(1), line(2))
    good = path.read_bytes()
    path.write_bytes(good + b"\0\0\0\n[1]\n" + good.replace(b"-0", b"-1") + b'{"id": "ha')
    ids = ["1-0", "1-1", "2-0", "2-1"]
    assert [one.id for one in read(tmp_path)] == ids
    assert "left out 2 lines" in caplog.text
    assert observations.rotate(tmp_path) == 4
    assert [one.id for one in read(tmp_path)] == ids


def test_a_segment_that_is_written_to_is_left_alone_until_it_is_closed(tmp_path):
    writer = Writer(tmp_path / "predictions")
    moment = f"{DAY}T12:00:00.000Z"
    writer.append(moment, json.dumps(line(1)).encode() + b"\n")
    assert observations.rotate(tmp_path) == 0
    writer.append(moment, json.dumps(line(2)).encode() + b"\n")
    writer.close()
    assert observations.rotate(tmp_path) == 2
    assert len(read(tmp_path)) == 2


def test_a_new_day_and_a_full_segment_begin_another_file(tmp_path, monkeypatch):
    writer = Writer(tmp_path)
    monkeypatch.setattr(segments, "SEGMENT_BYTES", 100)
    for day, size in ((DAY, 80), (DAY, 80), (DAY, 80), ("2026-03-06", 10)):
        writer.append(f"{day}T12:00:00.000Z", b"x" * size + b"\n")
    writer.close()
    sizes = {path.parent.name: path.stat().st_size for path in tmp_path.glob("*/*.jsonl")}
    assert len(list(tmp_path.glob(f"{DAY}/*.jsonl"))) == 2
    assert sizes["2026-03-06"] == 11


def test_lines_written_after_somebody_removed_the_segment_are_in_another(tmp_path):
    writer = Writer(tmp_path)
    writer.append(f"{DAY}T12:00:00.000Z", b"1\n")
    shutil.rmtree(tmp_path / DAY)
    writer.append(f"{DAY}T12:00:00.000Z", b"2\n")
    [segment] = tmp_path.glob("*/*.jsonl")
    assert segment.read_bytes() == b"2\n"
    writer.close()


def test_what_is_killed_while_it_compacts_neither_doubles_nor_loses_rows(tmp_path, monkeypatch):
    write(tmp_path, line(1), line(2, version=2))
    before = read(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", _killed)
        with pytest.raises(KeyboardInterrupt):
            observations.rotate(tmp_path)
    assert len(list(tmp_path.rglob("*.parquet"))) == 2
    assert len(list(tmp_path.rglob("*.jsonl"))) == 1
    assert read(tmp_path) == before
    observations.rotate(tmp_path)
    assert read(tmp_path) == before


def _killed(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_a_segment_that_is_compacted_while_it_is_looked_for_is_read_once(tmp_path, monkeypatch):
    write(tmp_path, line(1))
    whole = segments.chunks

    def compacted_first(path):
        monkeypatch.setattr(segments, "chunks", whole)
        observations.rotate(tmp_path)
        return whole(path)

    monkeypatch.setattr(segments, "chunks", compacted_first)
    assert [one.id for one in read(tmp_path)] == ["1-0"]
    assert not list(tmp_path.rglob("*.jsonl"))


@pytest.mark.parametrize("is_packed", [False, True])
def test_only_the_days_and_rows_asked_for_are_read(tmp_path, is_packed, monkeypatch):
    for day in ("2026-03-04", DAY, "2026-03-06"):
        write(tmp_path, *(line(number, day=day) for number in range(3)))
    if is_packed:
        observations.rotate(tmp_path)
    days = []
    whole = rotation.read
    monkeypatch.setattr(
        rotation, "read", lambda folder, day, **more: days.append(day) or whole(folder, day, **more)
    )
    found = read(tmp_path, since=f"{DAY}T12:00:00.000Z", until=f"{DAY}T12:00:00.001Z")
    assert [(one.id, one.time[:10]) for one in found] == [("1-0", DAY)]
    assert days == [DAY]


def test_an_id_tells_the_days_on_which_it_may_be(tmp_path, monkeypatch):
    midnight = 1772668800000  # 2026-03-05
    identity = f"{midnight:012x}7abc8{'0' * 15}-0"
    assert observations.day_range(identity) == ("2026-03-04", DAY)
    for day in ("2026-03-01", "2026-03-04", DAY):
        write(tmp_path, line(1, day=day), line(2, day=day, id=identity if day == DAY else "x"))
    assert [one.time[:10] for one in observations.predictions(tmp_path, ids={identity})] == [DAY]
    for other in ("", "seven", f"{'f' * 12}7abc8{'0' * 15}", f"{midnight:012x}4abc8{'0' * 15}"):
        assert observations.day_range(other) is None


def label(number: int, value: object, *, day: str = DAY, second: int = 0) -> dict[str, object]:
    return {"id": f"{number}-0", "time": f"{day}T13:00:{second:02}.000Z", "label": value}


def test_labels_find_predictions_of_earlier_days_and_the_latest_one_counts(tmp_path):
    for number, day in enumerate(("2026-03-01", "2026-03-02", "2026-03-03")):
        write(tmp_path, line(number, day=day))
    write(tmp_path, label(0, 1), label(1, 0), label(9, 1), kind="labels", name="a")
    write(tmp_path, label(0, 0, second=5), label(2, "x", second=5), kind="labels", name="b")
    observations.rotate(tmp_path)
    found = observations.labelled(tmp_path)
    assert [(one.prediction.id, one.label.label) for one in found] == [
        ("0-0", 0),
        ("1-0", 0),
        ("2-0", "x"),
    ]
    assert observations.count_labelled(tmp_path) == 3
    assert observations.labelled(tmp_path, latest=2) == found[1:]
    assert observations.count_labelled(tmp_path, since="2026-03-02T13") == 1
    history = observations.label_history(tmp_path, ids={"0-0"})
    assert {key: [one.label for one in each] for key, each in history.items()} == {"0-0": [1, 0]}
    assert observations.labels(tmp_path, until=f"{DAY}T13:00:04Z")["0-0"].label == 1


def test_the_latest_observations_need_no_days_before_them(tmp_path, monkeypatch):
    for number in range(1, 8):
        write(tmp_path, line(number, day=f"2026-03-0{number}"))
        write(tmp_path, label(number, 1, day=f"2026-03-0{number}"), kind="labels")
    days = []
    whole = rotation.read
    monkeypatch.setattr(
        rotation, "read", lambda folder, day, **more: days.append(day) or whole(folder, day, **more)
    )
    assert len(observations.labelled(tmp_path, latest=2)) == 2
    assert days == ["2026-03-07", "2026-03-06"]


def test_shadows_and_the_labels_of_what_clients_got_are_joined_too(tmp_path):
    write(tmp_path, line(1))
    write(tmp_path, line(1, version=2), kind="shadow")
    write(tmp_path, label(1, 0), kind="labels")
    assert observations.rotate(tmp_path) == 2
    [pair] = observations.labelled(tmp_path, kind=observations.SHADOW)
    assert (pair.prediction.version, pair.label.label) == (2, 0)
    assert [one.version for one in read(tmp_path)] == [1]
