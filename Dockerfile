# Two images from one file:
#   job        the whole command line, Paddle included: it migrates and trains
#   dashboard  the same code without Paddle: it serves VisualDL and answers queries
# Build them with `docker compose build`, or `docker build --target job .`.

FROM python:3.11-slim-bookworm AS builder
# No pip inside: the base image's own pip installs into it from outside, and stays behind in this stage.
RUN python -m venv --without-pip /opt/venv
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore


FROM builder AS job-packages
COPY requirements.lock /tmp/
RUN --mount=type=cache,target=/root/.cache/pip,sharing=locked \
    python -m pip --python /opt/venv/bin/python install --no-deps --require-hashes --only-binary :all: \
        -r /tmp/requirements.lock \
    && python -m pip --python /opt/venv/bin/python check


FROM builder AS dashboard-packages
COPY requirements-dashboard.lock /tmp/
RUN --mount=type=cache,target=/root/.cache/pip,sharing=locked \
    python -m pip --python /opt/venv/bin/python install --no-deps --require-hashes --only-binary :all: \
        -r /tmp/requirements-dashboard.lock \
    && python -m pip --python /opt/venv/bin/python check


FROM builder AS project
COPY requirements-build.lock /tmp/
RUN --mount=type=cache,target=/root/.cache/pip,sharing=locked \
    python -m pip install --no-deps --require-hashes -r /tmp/requirements-build.lock
COPY . /src/
# A wheel holds what belongs to the project and nothing else; /app gets its packages and its metadata.
RUN python -m pip install --no-deps --no-build-isolation --target /app /src && rm -r /app/bin


FROM python:3.11-slim-bookworm AS runtime
# The base image's installers are of no use at run time, only to an intruder.
RUN python -m pip uninstall --yes --quiet --root-user-action=ignore pip setuptools wheel \
    && mkdir -p /var/lib/epoch-ledger/results \
    && chown -R 10001:10001 /var/lib/epoch-ledger
# HOME, since VisualDL and Matplotlib write their caches there, and /tmp is what a read-only container can write.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp
WORKDIR /var/lib/epoch-ledger
USER 10001:10001
ENTRYPOINT ["python", "-m", "job"]


FROM runtime AS dashboard
COPY --from=dashboard-packages /opt/venv /opt/venv
COPY --from=project /app /app
CMD ["dashboard"]
# The commit that runs record; last, so that a new one costs no layer.
ARG JOB_GIT_COMMIT=""
ENV JOB_GIT_COMMIT=$JOB_GIT_COMMIT
LABEL org.opencontainers.image.title="epoch-ledger dashboard" \
      org.opencontainers.image.description="VisualDL and SQL over the epoch history of epoch-ledger; no Paddle inside" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision=$JOB_GIT_COMMIT \
      org.opencontainers.image.base.name="python:3.11-slim-bookworm"


FROM runtime AS job
USER 0:0
# Paddle links against OpenMP's runtime, which its wheel does not bring.
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log
USER 10001:10001
COPY --from=job-packages /opt/venv /opt/venv
COPY --from=project /app /app
CMD ["train"]
ARG JOB_GIT_COMMIT=""
ENV JOB_GIT_COMMIT=$JOB_GIT_COMMIT
LABEL org.opencontainers.image.title="epoch-ledger job" \
      org.opencontainers.image.description="Trains one linear regression in NumPy and in Paddle and keeps every epoch in a SQL database" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision=$JOB_GIT_COMMIT \
      org.opencontainers.image.base.name="python:3.11-slim-bookworm"
