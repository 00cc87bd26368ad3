# docker build -t modist_det .                                        CPU
# docker build -t modist_det --build-arg DEVICE=cu126 .               CUDA 12.6
# docker run --rm --shm-size=8g -v "$PWD:/data" -w /data modist_det modist-det doctor
# With CUDA add --gpus all. Loaders pass batches through /dev/shm, of which a container has 64 MB by default.
FROM python:3.11-slim

# A folder of https://download.pytorch.org/whl: cpu, cu126, ... The wheels bring CUDA's libraries; the host has the driver.
ARG DEVICE=cpu

WORKDIR /opt/modist_det
COPY pyproject.toml README.md LICENSE ./
COPY modist_det modist_det
COPY configs configs
COPY tools tools
COPY datasets datasets

RUN pip install --no-cache-dir "torch>=2.4" "torchvision>=0.19" --index-url "https://download.pytorch.org/whl/${DEVICE}" \
    && pip install --no-cache-dir -e ".[export,hub]"

RUN useradd --create-home --uid 1000 modist
USER 1000
ENV MODIST_DET_CACHE=/home/modist/.cache/modist_det
CMD ["modist-det", "--help"]
