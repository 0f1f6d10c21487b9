# syntax=docker/dockerfile:1
# The csc command in a container:  docker build -t csc . && docker run --rm -v "$PWD/data:/data" csc csc demo --out /data/demo
FROM python:3.11-slim-bookworm

ENV PYTHONUNBUFFERED=1 \
    UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_SYSTEM_PYTHON=1

RUN pip install --no-cache-dir uv==0.13.8

WORKDIR /opt/csc
COPY constraints.txt ./
COPY packages ./packages

# --torch-backend picks the torch build: "cpu" keeps the image small, "auto" takes the newest CUDA.
ARG TORCH_BACKEND=auto
RUN uv pip install --no-cache --torch-backend "${TORCH_BACKEND}" -c constraints.txt \
        "./packages/csc-data[convert,torch,view]" ./packages/csc-models ./packages/csc-eval ./packages/csc-train \
        ./packages/csc-submit ./packages/csc-cli

# Whoever trains need not wait for the loader's loops, if the processor is as new as the one that builds.
RUN python -c "import csc_data.loader as loader; loader.compile_all()" && rm -rf /root/.cache

# Nothing needs root; data is mounted at /data.
RUN useradd --create-home --uid 1000 csc && mkdir /data && chown csc /data
USER 1000
ENV CSC_DATA=/data
WORKDIR /data
CMD ["csc", "--help"]
