"""What Airflow registers of Perennial; the only file here that it scans."""

from __future__ import annotations

import logging
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from perennial.ui.places import DAG_TAB, NAVIGATION, PREFIX, RUN_TAB

log = logging.getLogger(__name__)


class PerennialPlugin(AirflowPlugin):
    """The entry "Models" in the navigation, a tab on each DAG and run, and what they show."""

    name = "perennial"

    @property
    def fastapi_apps(self) -> list[dict[str, Any]]:  # type: ignore[override]
        """The pages, imported only by who asks for them: Airflow's server, when it starts.

        Every process of Airflow reads this file. Tasks need that server, pages or not.
        """
        try:
            from perennial.ui.app import pages

            return [{"app": pages(), "url_prefix": PREFIX, "name": "Perennial's pages"}]
        except Exception:
            log.exception("Perennial has no pages, as they cannot be imported; the rest goes on")
            return []

    # Airflow declares this as a plain list of the class.
    external_views = [  # noqa: RUF012
        {
            "name": "Models",
            "href": f"{PREFIX}/",
            "destination": "nav",
            "url_route": NAVIGATION,
            "nav_top_level": True,
            "icon": f"{PREFIX}/static/models.svg",
            "icon_dark_mode": f"{PREFIX}/static/models-dark.svg",
        },
        {
            "name": "Model",
            "href": PREFIX + "/dags/{DAG_ID}",
            "destination": "dag",
            "url_route": DAG_TAB,
        },
        {
            "name": "What it did",
            "href": PREFIX + "/dags/{DAG_ID}/runs/{RUN_ID}",
            "destination": "dag_run",
            "url_route": RUN_TAB,
        },
    ]
