# Two images from one file:
#   job        the whole command line, with Paddle: migrates and trains
#   dashboard  the same code without Paddle: serves VisualDL and runs queries
# Build them with `docker compose build`, or `docker build --target job .`.

FROM python:3.11-slim-bookworm AS builder
# Without pip: the base image's pip installs the packages, and is not copied from this stage.
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
# Install the wheel, which holds only the project's own files; /app gets its packages and metadata.
RUN python -m pip install --no-deps --no-build-isolation --target /app /src && rm -r /app/bin


FROM python:3.11-slim-bookworm AS runtime
# Remove the base image's installers, which nothing needs at run time.
RUN python -m pip uninstall --yes --quiet --root-user-action=ignore pip setuptools wheel \
    && mkdir -p /var/lib/epoch-ledger/results \
    && chown -R 10001:10001 /var/lib/epoch-ledger
# HOME: Matplotlib writes caches to it, and a read-only container can write only to /tmp.
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
# The commit that runs record; at the end, so that a new commit rebuilds no layer.
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
# Paddle links against OpenMP's runtime, which its wheel does not contain.
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
      org.opencontainers.image.description="Trains one linear regression in NumPy and in Paddle and stores every epoch in a SQL database" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.revision=$JOB_GIT_COMMIT \
      org.opencontainers.image.base.name="python:3.11-slim-bookworm"
