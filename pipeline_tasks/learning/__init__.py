"""How a model learns and answers: the only place of the training loop that touches TensorFlow."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

GPU = Path("/dev/nvidia0")


def load_tensorflow() -> None:
    """Import TensorFlow without the notices it prints below Python's logging at every start.

    They are shown when the import fails. Where there is a GPU, its errors stay visible. The garbage
    collector never looks at what is imported: a million objects, none of them garbage, cost it a
    quarter of the import and a second at the process's end.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2" if GPU.exists() else "3")
    if "tensorflow" not in sys.modules:
        with stderr_kept_back(), _no_garbage_collection():
            import tensorflow  # noqa: F401


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if was_enabled:
            gc.enable()


@contextmanager
def stderr_kept_back() -> Iterator[None]:
    """What libraries write below Python's logging is shown only when something is raised."""
    with tempfile.TemporaryFile() as kept:
        visible = os.dup(2)
        os.dup2(kept.fileno(), 2)
        try:
            yield
        except BaseException:
            kept.seek(0)
            os.write(visible, kept.read())
            raise
        finally:
            os.dup2(visible, 2)
            os.close(visible)
