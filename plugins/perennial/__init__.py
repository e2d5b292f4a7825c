"""How Airflow meets the pipelines: operators, a sensor, an executor. No machine learning."""
