# The image in which jobs and node calls run on Kubernetes: `make image IMAGE=registry.example.org/physlab:1`.
# Commands and scripts need only its Python; node calls need physlab, which is installed from the lock.
ARG PYTHON=python:3.12-slim

FROM ${PYTHON} AS build
RUN pip install --no-cache-dir uv
ENV UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy UV_COMPILE_BYTECODE=1
WORKDIR /opt/physlab
COPY pyproject.toml uv.lock README.md LICENSE ./
COPY src src
RUN uv sync --frozen --no-dev --no-editable --extra science --extra video --extra library

FROM ${PYTHON}
COPY --from=build /opt/physlab/.venv /opt/physlab/.venv
# Pods have a read-only root: what is written goes to /tmp and the work folder.
ENV PATH=/opt/physlab/.venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 MPLCONFIGDIR=/tmp/matplotlib
USER 1000:1000
CMD ["python3"]
