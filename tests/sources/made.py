"""A source in use: its settings, and the pipeline that asks for its rows."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipeline_tasks.config import PipelineConfig
from pipeline_tasks.core import registry
from pipeline_tasks.core.errors import PipelineError
from pipeline_tasks.data import rows

COLUMNS = {
    "width": {"type": "number", "nullable": True},
    "colour": {"type": "category", "nullable": True},
}
LABEL = {"name": "kind", "classes": [0, 1]}


@dataclass
class Source:
    """One source of one pipeline."""

    settings: dict[str, Any]
    columns: dict[str, Any] = field(default_factory=lambda: COLUMNS)
    label: dict[str, Any] = field(default_factory=lambda: LABEL)

    @property
    def part(self) -> Any:
        return registry.part("sources", self.settings["kind"])

    @property
    def params(self) -> Any:
        settings = {key: value for key, value in self.settings.items() if key != "kind"}
        return registry.params("sources", self.settings["kind"], settings)

    @property
    def config(self) -> PipelineConfig:
        return PipelineConfig.model_validate(
            {
                "name": "made",
                "source": self.settings,
                "columns": self.columns,
                "label": self.label,
                "model": {"kind": "mlp"},
            }
        )

    def digest(self) -> str:
        return self.part.digest(self.params)

    def fetch(self, folder: Path) -> dict[str, bytes]:
        """What is kept, by the file's name."""
        folder.mkdir(parents=True, exist_ok=True)
        self.part.fetch(self.params, folder)
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    def count(self) -> int | None:
        """The rows that fetching counts."""
        with tempfile.TemporaryDirectory() as name:
            return self.part.fetch(self.params, Path(name))

    def read(self) -> pd.DataFrame:
        """Fetched and read."""
        with tempfile.TemporaryDirectory() as name:
            self.part.fetch(self.params, Path(name))
            frame = self.part.read(self.params, Path(name), rows.at_source(self.config))
            return rows.renamed(frame, self.config)

    def undeclared(self) -> list[str]:
        with tempfile.TemporaryDirectory() as name:
            self.part.fetch(self.params, Path(name))
            return self.part.undeclared(self.params, Path(name), rows.at_source(self.config))

    def place(self, row: int) -> str:
        return self.part.place(self.params, row)

    def refused(self) -> str:
        """The message with which digest, fetch or read refuses; it says what to do."""
        with pytest.raises(PipelineError) as caught:
            self.digest()
            self.read()
        assert caught.value.fix
        assert caught.value.expected
        assert not caught.value.is_retryable
        return str(caught.value)
