# AiAdmin in a container: `docker build -t aiadmin .` for processors, `--target cuda` for NVIDIA's GPUs.
# docs/how-to/run-in-a-container.md says how to run it.

ARG PYTHON=3.12-slim-trixie
ARG CUDA=12.6.3

# The image runs on other processors than the one it is built on: no instructions that only this one has.
FROM python:${PYTHON} AS build
SHELL ["/bin/sh", "-eu", "-c"]
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends cmake g++ git ninja-build \
    && rm -rf /var/lib/apt/lists/*
COPY packages /src/packages
RUN python3 -m venv /opt/aiadmin \
    && CMAKE_ARGS="-DGGML_NATIVE=OFF" /opt/aiadmin/bin/pip install --no-cache-dir \
        /src/packages/core /src/packages/backend-llamacpp /src/packages/backend-openai /src/packages/server

FROM nvidia/cuda:${CUDA}-devel-ubuntu24.04 AS build-cuda
SHELL ["/bin/sh", "-eu", "-c"]
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends cmake g++ git ninja-build python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/*
COPY packages /src/packages
RUN python3 -m venv /opt/aiadmin \
    && CMAKE_ARGS="-DGGML_CUDA=ON -DGGML_NATIVE=OFF -DCMAKE_EXE_LINKER_FLAGS=-Wl,--allow-shlib-undefined" \
        /opt/aiadmin/bin/pip install --no-cache-dir \
        /src/packages/core /src/packages/backend-llamacpp /src/packages/backend-openai /src/packages/server

FROM nvidia/cuda:${CUDA}-runtime-ubuntu24.04 AS cuda
SHELL ["/bin/sh", "-eu", "-c"]
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgomp1 python3 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --create-home --home-dir /data aiadmin
COPY --from=build-cuda /opt/aiadmin /opt/aiadmin
ENV PATH=/opt/aiadmin/bin:${PATH} AIADMIN_STATE=/data NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001
VOLUME /data
EXPOSE 11434
HEALTHCHECK --start-period=30s CMD ["python3", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:11434/health')"]
ENTRYPOINT ["aiadmin"]
CMD ["serve", "--host", "0.0.0.0"]

# Last, and so what a build without a target makes.
FROM python:${PYTHON} AS cpu
SHELL ["/bin/sh", "-eu", "-c"]
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --create-home --home-dir /data aiadmin
COPY --from=build /opt/aiadmin /opt/aiadmin
ENV PATH=/opt/aiadmin/bin:${PATH} AIADMIN_STATE=/data
USER 10001
VOLUME /data
EXPOSE 11434
HEALTHCHECK --start-period=30s CMD ["python3", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:11434/health')"]
ENTRYPOINT ["aiadmin"]
CMD ["serve", "--host", "0.0.0.0"]
