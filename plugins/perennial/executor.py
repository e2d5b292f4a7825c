"""Airflow's LocalExecutor with the heavy libraries imported once, before its workers fork."""

from __future__ import annotations

import gc
import importlib
import logging
import os
import sys

from airflow.executors.local_executor import LocalExecutor

from pipeline_tasks.learning import load_tensorflow

log = logging.getLogger(__name__)

PRELOAD = (
    "tensorflow,pandas,pandera.pandas,pyarrow.parquet,matplotlib.figure,"
    "matplotlib.backends.backend_agg,sklearn.datasets,orjson,httpx,uvicorn,"
    "tensorflow_serving.apis.prediction_log_pb2,tensorflow_serving.apis.predict_pb2"
)


class PreloadLocalExecutor(LocalExecutor):
    """Every task is a fork that finds pandas and TensorFlow imported already.

    Only imports are allowed before the fork: a TensorFlow operation starts threads that a fork
    does not have, and the first training in the child would hang. `PERENNIAL_PRELOAD` names the
    modules, separated by commas; empty preloads nothing.
    """

    def start(self) -> None:
        """Import, make sure that nothing more than importing happened, and fork the workers."""
        preload(os.environ.get("PERENNIAL_PRELOAD", PRELOAD))
        super().start()


def preload(modules: str) -> None:
    """Import these modules and freeze what they allocated, so that forks share its memory.

    Raises RuntimeError when TensorFlow has run an operation in this process.
    """
    for name in filter(None, modules.split(",")):
        if name == "tensorflow":
            load_tensorflow()
        else:
            importlib.import_module(name)
    if tensorflow_is_in_use():
        raise RuntimeError(
            "TensorFlow has run an operation in the scheduler's process; its forks would hang. "
            "Look for TensorFlow calls at module level in dags/ and plugins/, "
            "or set PERENNIAL_PRELOAD to nothing."
        )
    gc.collect()
    gc.freeze()
    log.info("preloaded %s", modules)


def tensorflow_is_in_use() -> bool:
    """An operation has run here: the eager context exists and is initialised."""
    context = sys.modules.get("tensorflow.python.eager.context")
    found = context.context_safe() if context else None
    return found is not None and bool(found._initialized)
