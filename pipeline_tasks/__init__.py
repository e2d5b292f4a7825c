"""What a pipeline does, step by step. Never imports Airflow."""
