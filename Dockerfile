# docker build -t toolkit .
# docker run --gpus all --stop-timeout 120 -p 127.0.0.1:8501:8501 -v toolkit:/data toolkit
# Without a GPU leave out --gpus. Who else may reach it: docs/server.md. --stop-timeout: time for jobs to save

# 1. the viewer's JavaScript, by package name
FROM node:22-slim AS viewer
WORKDIR /viewer
COPY scripts/fetch_viewer.sh scripts/
RUN bash scripts/fetch_viewer.sh

# 2. the app; the default build of torch on Linux brings its own CUDA libraries, the host brings only the driver
FROM python:3.12-slim
# Triton compiles the launchers of its kernels when it runs
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home --uid 1000 toolkit && mkdir -p /data/runs && chown -R toolkit /data
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt
COPY --chown=toolkit . .
COPY --from=viewer /viewer/static/3Dmol-min.js static/3Dmol-min.js
USER toolkit
ENV TOOLKIT_RUNS=/data/runs \
    TOOLKIT_DATA=/data \
    TOOLKIT_CACHE=/data/cache \
    NUMBA_CACHE_DIR=/data/cache/numba \
    TRITON_CACHE_DIR=/data/cache/triton \
    PYTHONUNBUFFERED=1 \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
VOLUME /data
EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8501/_stcore/health', timeout=4)"]
CMD ["python", "-m", "toolkit.jobs.server", "streamlit", "run", "app.py", "--server.port=8501", "--server.address=0.0.0.0"]
