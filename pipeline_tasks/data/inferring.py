"""Proposes what a pipeline file could say of its columns, from the source's data."""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core import registry
from pipeline_tasks.data import rows
from pipeline_tasks.sections import column_rules
from pipeline_tasks.sections.settings import Column
from pipeline_tasks.transforms import date_parts

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

FEW, WORDS_OF_PROSE = 50, 3.0
LONG_LINE = 1_000_000

Rules = dict[str, Any]


def columns_text(config: PipelineConfig) -> str:
    """The section `columns:` in YAML: what the file declares as it is, and what the data adds."""
    lines = ["columns:"]
    for name, rules in propose(config).items():
        flow = yaml.safe_dump(rules, default_flow_style=True, sort_keys=False, width=LONG_LINE)
        key = yaml.safe_dump(name).splitlines()[0]
        lines.append(f"  {key}: {flow.strip()}")
    return "\n".join(lines)


def propose(config: PipelineConfig) -> dict[str, Rules]:
    """What each column of the source could be declared as; what is declared stays as it is."""
    with tempfile.TemporaryDirectory() as name:
        frame = _read(config, Path(name))
    proposed: dict[str, Rules] = {}
    for key, column in config.columns.items():
        declared = column.model_dump(mode="json", by_alias=True, exclude_unset=True)
        declared |= {k: _plain(v) for k, v in declared.items() if isinstance(v, float)}
        proposed[key] = declared | {
            rule: value
            for rule, value in _rules(frame, key, column).items()
            if rule not in declared and rule != "type"
        }
    known = {*rows.frame_columns(config.columns), config.label.name}
    for name in (str(name) for name in frame.columns if name not in known):
        sent = column_rules.sendable(name)
        renamed: Rules = {} if sent == name else {"from": name}
        proposed[sent] = _rules(frame, name, None) | renamed
    return proposed


def undeclared(config: PipelineConfig, folder: Path) -> list[str]:
    """Names that a fetched CSV file's header has beside the declared ones.

    Other sources deliver all they have, or say it themselves: `undeclared(params, folder, config)`.
    """
    config, source = rows.at_source(config), config.source
    part = registry.part("sources", source.kind)
    if hasattr(part, "undeclared"):
        params = registry.params("sources", source.kind, source.settings())
        return list(part.undeclared(params, folder, config))
    separator = str(source.settings().get("separator", ","))
    names: list[str] = []
    for path in sorted(folder.glob("*.csv")):
        with path.open(encoding="utf-8-sig", newline="") as file:
            names += next(csv.reader(file, delimiter=separator), [])
    declared = {*rows.frame_columns(config.columns), config.label.name}
    return [name for name in names if name not in declared]


def _read(config: PipelineConfig, folder: Path) -> pd.DataFrame:
    """Every column of the source; those that are not declared as text."""
    source = config.source
    part = registry.part("sources", source.kind)
    params = registry.params("sources", source.kind, source.settings())
    part.fetch(params, folder)
    more = {name: Column(type="text") for name in undeclared(config, folder)}
    there = rows.at_source(config)
    whole = there.model_copy(update={"columns": {**there.columns, **more}})
    return rows.renamed(part.read(params, folder, whole), config)


def _rules(frame: pd.DataFrame, name: str, column: Column | None) -> Rules:
    """Type, range, values, and whether values are missing or all different."""
    import pandas as pd

    if column is not None and column.type == "image":
        return _range(frame[rows.pixels(name, column)].to_numpy())
    values = frame[name]
    known = values.dropna()
    type_ = column.type if column else _type(known)
    rules: Rules = {"type": type_}
    if type_ == "number":
        known = pd.to_numeric(known)
        rules |= _range(known)
    elif type_ == "category" and known.nunique() <= min(FEW, len(known) / 2):
        rules["values"] = sorted(map(str, known.unique()))
    if len(known) < len(values):
        rules["nullable"] = True
    if _is_key(known):
        rules["unique"] = True
    return rules


def _type(known: pd.Series[Any]) -> str:
    import pandas as pd

    if not len(known):
        return "text"
    if pd.api.types.is_numeric_dtype(known) or pd.to_numeric(known, errors="coerce").notna().all():
        return "number"
    if known.str.fullmatch(date_parts.DATE).all():
        return "date"
    words = known.str.count(r"\S+").mean()
    return "text" if words > WORDS_OF_PROSE and known.nunique() > FEW else "category"


def _range(known: pd.Series[Any] | NDArray[Any]) -> Rules:
    return {"min": _plain(known.min()), "max": _plain(known.max())} if len(known) else {}


def _plain(value: float) -> float | int:
    return int(value) if float(value).is_integer() else float(value)


def _is_key(known: pd.Series[Any]) -> bool:
    """All different, and not merely because real numbers always are."""
    import pandas as pd

    if len(known) < FEW or not known.is_unique:
        return False
    return not pd.api.types.is_numeric_dtype(known) or bool((known % 1 == 0).all())
