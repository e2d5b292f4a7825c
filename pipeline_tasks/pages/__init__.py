"""What people see of a pipeline: gathered from the store, rendered as HTML, without Airflow."""
