"""Where training stands after an epoch: written whole or not at all, read back after a kill."""

from __future__ import annotations

import io
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline_tasks.core.bucket import Place
from pipeline_tasks.core.errors import TransientError
from pipeline_tasks.core.folder import write_bytes
from pipeline_tasks.sections.training import Training

if TYPE_CHECKING:
    import keras
    import numpy as np
    from numpy.typing import NDArray

log = logging.getLogger(__name__)

CURVES = "curves.json"
SHARE = 0.1  # of the time, at most, goes into checkpoints


@dataclass(frozen=True)
class Progress:
    """What training has seen: one entry an epoch, and the weights of the best one."""

    loss: tuple[float, ...] = ()
    validation_loss: tuple[float, ...] = ()
    validation_score: tuple[float, ...] = ()
    seconds: tuple[float, ...] = ()
    resumed_after: tuple[int, ...] = ()
    best_weights: Sequence[NDArray[np.generic]] = field(default=(), repr=False)

    @property
    def epochs(self) -> int:
        """Epochs done."""
        return len(self.loss)

    @property
    def best_epoch(self) -> int:
        """The epoch, from 1, with the least validation loss; the first of equals."""
        return self.validation_loss.index(min(self.validation_loss)) + 1

    def is_over(self, settings: Training) -> bool:
        """All epochs are done, or `patience` of them brought no better validation loss."""
        if self.epochs >= settings.epochs:
            return True
        waited = self.epochs - self.best_epoch if self.epochs else 0
        return 0 < settings.patience <= waited

    def after(
        self,
        *,
        loss: float,
        validation_loss: float,
        validation_score: float,
        seconds: float,
        weights: Sequence[NDArray[np.generic]],
    ) -> Progress:
        """Where training stands one epoch later."""
        is_best = not self.loss or validation_loss < min(self.validation_loss)
        return replace(
            self,
            loss=(*self.loss, loss),
            validation_loss=(*self.validation_loss, validation_loss),
            validation_score=(*self.validation_score, validation_score),
            seconds=(*self.seconds, seconds),
            best_weights=weights if is_best else self.best_weights,
        )

    def line(self, settings: Training) -> str:
        """The epoch just done, for the log."""
        left = (settings.epochs - self.epochs) * sum(self.seconds) / len(self.seconds)
        eta = f", at most {left:.0f} s left" if left >= 1 else ""
        return (
            f"epoch {self.epochs}/{settings.epochs}: loss {self.loss[-1]:.4f}, "
            f"validation loss {self.validation_loss[-1]:.4f}, "
            f"validation score {self.validation_score[-1]:.4f}, "
            f"{self.seconds[-1]:.1f} s{eta}"
        )

    def curves(self) -> dict[str, list[float] | list[int]]:
        """The learning curves as data."""
        return {
            "loss": list(self.loss),
            "validation_loss": list(self.validation_loss),
            "validation_score": list(self.validation_score),
            "seconds": list(self.seconds),
            "resumed_after": list(self.resumed_after),
        }


class Checkpoint:
    """One file or object that holds an epoch's state, the newest as a rule; replaced atomically.

    Beside it are the learning curves alone, for whoever watches. Of short epochs some go without,
    so that keeping takes a tenth of the time at most. A bucket that is away stops no training.
    """

    def __init__(self, place: Place, name: str) -> None:
        self._place, self._file = place, f"{name}.npz"
        self._due = 0.0

    def save(self, state: Sequence[keras.Variable], progress: Progress) -> None:
        """Write the state of model and optimizer, and the progress."""
        began = time.monotonic()
        if began < self._due:
            return
        content = _packed(state, progress)
        curves = json.dumps(progress.curves())
        try:
            self._write(self._file, content)
            self._write(CURVES, curves.encode())
        except TransientError as error:
            log.warning("this epoch has no checkpoint, training goes on: %s", error)
        ended = time.monotonic()
        self._due = ended + (ended - began) * (1 / SHARE - 1)

    def load(self, state: Sequence[keras.Variable]) -> Progress:
        """Put a kept state back into the variables; a fresh Progress when there is none."""
        import numpy as np

        content = self._read()
        if content is None:
            return Progress()
        with np.load(io.BytesIO(content), allow_pickle=False) as kept:
            for index, variable in enumerate(state):
                variable.assign(kept[f"state_{index}"])
            best = [kept[f"best_{index}"] for index in range(_count(kept.files, "best_"))]
            curves = json.loads(kept["progress"].tobytes())
        progress = Progress(
            **{name: tuple(values) for name, values in curves.items()}, best_weights=best
        )
        log.info("resumed after epoch %s from the checkpoint", progress.epochs)
        return replace(progress, resumed_after=(*progress.resumed_after, progress.epochs))

    def clear(self) -> None:
        """Forget the state: training is done."""
        if isinstance(self._place, Path):
            for name in (self._file, CURVES):
                (self._place / name).unlink(missing_ok=True)
        else:
            self._place.delete([self._file, CURVES])

    def _write(self, name: str, content: bytes) -> None:
        if isinstance(self._place, Path):
            write_bytes(self._place / name, content)
        else:
            self._place.write(name, content)

    def _read(self) -> bytes | None:
        if not isinstance(self._place, Path):
            return self._place.read_bytes(self._file)
        path = self._place / self._file
        return path.read_bytes() if path.is_file() else None


def _packed(state: Sequence[keras.Variable], progress: Progress) -> bytes:
    import numpy as np

    arrays = {f"state_{index}": variable.numpy() for index, variable in enumerate(state)}
    arrays |= {f"best_{index}": value for index, value in enumerate(progress.best_weights)}
    arrays["progress"] = np.frombuffer(json.dumps(progress.curves()).encode(), dtype=np.uint8)
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


def _count(names: Sequence[str], prefix: str) -> int:
    return sum(1 for name in names if name.startswith(prefix))
