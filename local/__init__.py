"""Perennial on one machine: Airflow and the model server as processes of one command."""
