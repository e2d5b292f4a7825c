"""What Airflow registers of Perennial; the only file here that it scans."""

from airflow.plugins_manager import AirflowPlugin


class PerennialPlugin(AirflowPlugin):
    """Makes Perennial visible under Admin > Plugins; its operators are imported by the DAGs."""

    name = "perennial"
