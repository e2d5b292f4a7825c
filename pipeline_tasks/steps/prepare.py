"""Clean, transform, store: split the rows and learn from the training split how to encode them."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

from pydantic import JsonValue

from pipeline_tasks import storages
from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core.errors import DataError
from pipeline_tasks.core.fingerprint import code_digest
from pipeline_tasks.core.values import Champion, Ref, Scalar
from pipeline_tasks.data import learned, rows, splitting
from pipeline_tasks.data.checked import Checked, Chosen
from pipeline_tasks.monitoring import regime
from pipeline_tasks.run import Run, step

READS = (
    *("columns", "label", "drop_duplicates", "split", "preparation", "storage"),
    *("promotion", "retraining"),
)


def _transforms_digest(run: Run, checked: Ref) -> str:
    """The code of the parts that the pipeline file names: it is in the graph, too."""
    config = run.config
    parts = [*config.preparation.features.values(), config.preparation.outliers]
    parts += [column.outliers for column in config.columns.values()]
    kinds = {part.kind for part in parts if part is not None}
    return code_digest(frozenset(f"pipeline_tasks.transforms.{kind}" for kind in kinds))


def _outside(run: Run, checked: Ref) -> str:
    return _transforms_digest(run, checked) + regime.learned_until(_champion(run))


@step(reads=READS, outside=_outside)
def prepare(run: Run, checked: Ref) -> Ref:
    """Divide the rows into training, validation and test, and learn the encoding from training.

    Equal rows are on the same side, and a row is on the same side in every run. The latest
    labelled observations of production become a window of their own, `recent`, which judges the
    candidate; the earlier ones are trained on. What the champion has learned does not judge. After
    a detected change `recent` is a share of what has come since, and `retraining.replay_source`
    says whether the source's rows are used. Values are kept as a client sends them: what the
    pipeline file does to them is part of the encoding.
    Writes the artifact `prepared`: train.npz, validation.npz, test.npz and, with enough
    observations, recent.npz (arrays as in rows.to_arrays), preprocessing.json and, where columns
    have `input: false`, those of the rows that judge in <split>_others.npz: a champion may take
    them. With `storage` the arrays are kept there instead, and storage.json says where.
    """
    learned_until = regime.learned_until(_champion(run))
    source = Checked(run.open(checked), run.config, learned_until)
    chosen = splitting.divide(source)
    divided = sum(len(part.source) for part in chosen.values())
    before = len(chosen["train"])
    chosen["train"] = learned.kept(source, chosen["train"])
    _check_sizes(chosen)
    content: dict[str, JsonValue] = {**learned.learn(source, chosen["train"])}
    content[rows.CODE] = _code(run, checked)
    with run.write("prepared") as draft:
        _write_arrays(source, chosen, draft.folder)
        storages.keep(run.config, run.id, draft.folder)
        (draft.folder / "preprocessing.json").write_text(json.dumps(content))
        draft.summary |= {name: len(part) for name, part in chosen.items()}
        draft.summary["duplicates_dropped"] = source.rows - divided if source.takes_source else 0
        draft.summary["left_out_of_training"] = before - len(chosen["train"])
        draft.summary |= _until(source.times, len(chosen.get("recent", ())))
    return draft.done()


def _champion(run: Run) -> Champion | None:
    return run.store.champion(run.config.name)


def _until(times: list[str], judging: int) -> dict[str, Scalar]:
    """When the newest observation was, and the newest one that does not judge."""
    if not times:
        return {}
    learned = times[: len(times) - judging]
    return {regime.OBSERVED: times[-1], regime.LEARNED: learned[-1] if learned else None}


def _code(run: Run, checked: Ref) -> dict[str, JsonValue]:
    """What makes later steps notice that a feature is now another one."""
    config: PipelineConfig = run.config
    features = config.preparation.model_dump(mode="json", include={"features", "outliers"})
    return {"transforms": _transforms_digest(run, checked), "preparation": features}


def _write_arrays(source: Checked, chosen: dict[str, Chosen], folder: Path) -> None:
    columns = rows.inputs(source.config)
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(rows.ArrayWriter(folder / f"{name}.npz")) for name in chosen
        }
        for column in [*columns, source.config.label.name]:
            key = column if column in columns else rows.LABEL
            for name, array in source.array(column, chosen).items():
                writers[name].write(key, array)
    others = [name for name in source.config.columns if name not in columns]
    judging = {name: chosen[name] for name in rows.JUDGING if name in chosen}
    for name in judging if others else ():
        found = {one: source.array(one, judging)[name] for one in others}
        rows.write_arrays(folder / f"{name}{rows.OTHERS}.npz", found)


def _check_sizes(chosen: dict[str, Chosen]) -> None:
    empty = [name for name, part in chosen.items() if not len(part)]
    if empty:
        sizes = ", ".join(f"{name} {len(part)}" for name, part in chosen.items())
        raise DataError(
            f"no rows left for {', '.join(empty)}: {sizes}",
            expected="at least one row in each split",
            fix="bring more rows, or change split.validation and split.test",
        )
