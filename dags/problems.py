"""Makes no DAG: shows what is wrong with a pipeline file as one import error of Airflow."""

from airflow.sdk import get_parsing_context

from pipeline_tasks import config
from pipeline_tasks.core.errors import ConfigError


def problems() -> list[str]:
    """Every mistake of every broken pipeline file; the good ones keep running."""
    found = []
    for path in config.files():
        try:
            config.load(path)
        except ConfigError as error:
            found.append(str(error))
    return found


if get_parsing_context().dag_id is None and (texts := problems()):
    raise ConfigError("\n".join(texts))
