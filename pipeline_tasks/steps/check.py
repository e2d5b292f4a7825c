"""Clean, part one: nothing is trained on rows that break the declared schema."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline_tasks import observations
from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core import registry
from pipeline_tasks.core.errors import DataError
from pipeline_tasks.core.values import Ref
from pipeline_tasks.data import inferring, rows, schema
from pipeline_tasks.data.checked import IS_NEW, OBSERVATIONS, ROWS, TIME
from pipeline_tasks.data.schema import Failure
from pipeline_tasks.data.statistics import Statistics
from pipeline_tasks.monitoring import regime
from pipeline_tasks.run import Run, step

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

SHOWN = 20
FAILURES, QUARANTINE = "failures.csv", "quarantine.parquet"


@step(reads=("source", "columns", "label", "preparation"))
def check(run: Run, raw: Ref) -> Ref:
    """Parse the rows and stop if one of them breaks the schema declared in the pipeline file.

    Rows that break rules of columns with `on_failure: quarantine` alone are put aside instead.
    Writes the artifact `checked`: rows.parquet, observations.parquet when there are labelled
    observations (those that break the schema are left out and counted), statistics.json and,
    when rows were put aside, quarantine.parquet with their places and reasons. The summary says
    when production changed, if training is to learn what it is like since then.
    Raises DataError with the file, row, column and value of what is wrong; then the artifact
    `failures` has every such value in failures.csv, as `checked` has it after a quarantine.
    From rows that pass, the next ingest may go on; so what stops a run is fetched once more.
    """
    folder = run.open(raw)
    whole, undeclared = _source_rows(run.config, folder)
    found = _failures(run, whole)
    aside = sorted({failure.row for failure in found})
    frame = whole.drop(index=aside) if aside else whole
    _check_label(frame, run.config)
    seen, refused = _observed_rows(run.config, folder)
    with run.write("checked") as draft:
        _write(frame, draft.folder / ROWS, run.config)
        if len(seen):
            seen.to_parquet(draft.folder / OBSERVATIONS, index=False)
        if aside:
            _quarantined(run.config, whole, found).to_parquet(draft.folder / QUARANTINE)
            _table(run.config, _in_order(found)).to_csv(draft.folder / FAILURES, index=False)
        statistics = Statistics.of(frame, run.config).as_json()
        (draft.folder / "statistics.json").write_text(json.dumps(statistics, indent=1))
        draft.summary |= {
            "rows": len(frame),
            "observations": len(seen),
            "observations_refused": refused,
            "quarantined": len(aside),
        }
        if since := regime.changed_at_of(folder):
            draft.summary["changed_at"] = since
        draft.summary |= {"undeclared_columns": ", ".join(undeclared)} if undeclared else {}
    run.store.set_latest(raw)
    return draft.done()


def _source_rows(config: PipelineConfig, folder: Path) -> tuple[pd.DataFrame, list[str]]:
    """The declared columns, and the names of the others that the source has."""
    source = config.source
    part = registry.part("sources", source.kind)
    params = registry.params("sources", source.kind, source.settings())
    frame: pd.DataFrame = part.read(params, folder, rows.at_source(config))
    frame = rows.renamed(frame, config)
    undeclared = schema.check_columns(frame, config)
    undeclared += inferring.undeclared(config, folder)
    if undeclared:
        log.warning("the source has columns that are not declared: %s", ", ".join(undeclared))
        declared = [*rows.frame_columns(config.columns), config.label.name]
        frame = frame if len(frame.columns) == len(declared) else frame[declared]
    return frame, undeclared


def _failures(run: Run, frame: pd.DataFrame) -> list[Failure]:
    """What puts rows into quarantine. Raises DataError when something must stop the run."""
    config = run.config
    found = schema.failures(frame, config.columns, (config.label.name, config.label))
    found += schema.repeated(frame, config.columns)
    missing = schema.too_many_missing(frame, config.columns)
    stopping = [failure for failure in found if not _may_be_aside(failure, config)]
    limit = config.preparation.quarantine_limit
    aside = {failure.row for failure in found}
    if stopping or missing:
        raise _broken(run, found, _listed(config, stopping) + missing)
    if len(aside) > limit * len(frame):
        lines = _listed(config, found)
        lines.append(
            f"{len(aside)} of {len(frame)} rows would be put aside, {len(aside) / len(frame):.1%}, "
            f"and preparation.quarantine_limit is {limit:.1%}"
        )
        raise _broken(run, found, lines)
    if found:
        log.warning("put aside %s of %s rows: %s", len(aside), len(frame), _listed(config, found))
    return found


def _may_be_aside(failure: Failure, config: PipelineConfig) -> bool:
    column = config.columns.get(failure.column.partition(" (")[0])
    column = config.columns.get(failure.column, column)
    return column is not None and column.on_failure == "quarantine"


def _listed(config: PipelineConfig, found: Sequence[Failure]) -> list[str]:
    if not found:
        return []
    shown = _in_order(found)[:SHOWN]
    lines = [
        f"{place}, column {failure.column}: {failure.value!r}, expected {failure.rule}"
        for place, failure in zip(_table(config, shown)["place"], shown, strict=True)
    ]
    return lines + ([f"... and {len(found) - SHOWN} more"] if len(found) > SHOWN else [])


def _in_order(found: Sequence[Failure]) -> list[Failure]:
    return sorted(found, key=lambda failure: failure.row)


def _broken(run: Run, found: list[Failure], lines: list[str]) -> DataError:
    """The error, after every failure has been kept in an artifact of its own."""
    where = ""
    if found:
        name, run_id = run.config.name, run.id
        with run.store.write(name, run_id, "failures", inputs=run.inputs) as draft:
            _table(run.config, _in_order(found)).to_csv(draft.folder / FAILURES, index=False)
            draft.summary["failures"] = len(found)
        where = f"; each of them is in {run.open(draft.done()) / FAILURES}"
    broken = f"{len(found)} values break the declared schema" if found else "too much is missing"
    return DataError(
        f"{broken}{where}:\n    " + "\n    ".join(lines),
        fix=schema.MEND,
    )


def _table(config: PipelineConfig, found: Sequence[Failure]) -> pd.DataFrame:
    """Every failure with the place where a person finds it, and what is done about it."""
    import pandas as pd

    part = registry.part("sources", config.source.kind)
    params = registry.params("sources", config.source.kind, config.source.settings())
    content = {
        "row": [failure.row for failure in found],
        "place": [part.place(params, failure.row) for failure in found],
        "column": [failure.column for failure in found],
        "value": [str(failure.value) for failure in found],
        "expected": [failure.rule for failure in found],
        "action": ["quarantine" if _may_be_aside(one, config) else "fail" for one in found],
    }
    return pd.DataFrame(content)


def _quarantined(
    config: PipelineConfig, frame: pd.DataFrame, found: Sequence[Failure]
) -> pd.DataFrame:
    """The rows put aside, as they are, with `_place` and `_reasons`; the index is the row."""
    table = _table(config, _in_order(found))
    reasons = "column " + table["column"] + ": expected " + table["expected"]
    grouped = table.assign(reasons=reasons).groupby("row", sort=True)
    kept = frame.loc[sorted({failure.row for failure in found})]
    return kept.assign(_place=grouped["place"].first(), _reasons=grouped["reasons"].agg("; ".join))


def _observed_rows(config: PipelineConfig, folder: Path) -> tuple[pd.DataFrame, int]:
    """With `_time`, and after a change with `_is_new`: what has come since then."""
    found = observations.read_joined(folder / observations.JOINED)
    frame = rows.from_observations(found, config)
    if frame.empty:
        return frame, 0
    label = (config.label.name, config.label)
    wrong = sorted({one.row for one in schema.failures(frame, rows.inputs(config), label)})
    if wrong:
        log.warning("left out %s of %s observations that break the schema", len(wrong), len(frame))
    frame[TIME] = [pair.prediction.time for pair in found]
    if since := regime.changed_at_of(folder):
        frame[IS_NEW] = [pair.prediction.time > since for pair in found]
    return frame.drop(index=wrong), len(wrong)


def _write(frame: pd.DataFrame, path: Path, config: PipelineConfig) -> None:
    """Parquet, in which only categories are worth a dictionary."""
    categories = [name for name, column in config.columns.items() if column.type == "category"]
    frame.to_parquet(path, index=False, use_dictionary=categories)


def _check_label(frame: pd.DataFrame, config: PipelineConfig) -> None:
    name = config.label.name
    found = frame[name].unique()
    if len(found) < 2:
        raise DataError(
            f"label column {name}: every one of the {len(frame)} rows is {found[0]}",
            expected=f"at least two of the classes {list(config.label.classes)}"
            if config.label.classes
            else "numbers that differ",
            fix="look at how the source chooses its rows: nothing can be learned from one answer",
        )
