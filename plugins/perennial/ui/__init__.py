"""The pages of pipeline_tasks.pages in Airflow's UI: who may see them, and what can be done."""
