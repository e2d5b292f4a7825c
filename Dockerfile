# One image for every service of docker-compose.yaml that runs our code.
FROM python:3.12-slim

RUN apt-get update \
    && apt-get install --yes --no-install-recommends curl \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 50000 perennial \
    && mkdir -p /opt/perennial /data/store /data/models /data/logs \
    && chown -R perennial /opt/perennial /data

WORKDIR /opt/perennial
COPY requirements.txt requirements-cluster.txt ./
# Compiled bytecode: without it every process recompiles what it imports.
RUN pip install --no-cache-dir uv \
    && uv pip install --system --no-cache --compile-bytecode \
        -r requirements.txt -r requirements-cluster.txt

COPY --chown=perennial pipeline_tasks pipeline_tasks
COPY --chown=perennial plugins plugins
COPY --chown=perennial dags dags
RUN python -m compileall -q pipeline_tasks plugins

USER perennial
ENV PYTHONPATH=/opt/perennial:/opt/perennial/plugins \
    AIRFLOW_HOME=/opt/perennial/airflow
