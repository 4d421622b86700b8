# docker build -t flairseg .                         for processors, from python:3.12-slim
# docker build -t flairseg --build-arg VARIANT=gpu . for NVIDIA GPUs
# docker run --rm --user "$(id -u):$(id -g)" -v /path/to/bids:/bids:ro -v /path/to/out:/out \
#     flairseg /bids /out participant
# Any image of Debian with python3 (3.11 to 3.13) and its venv module will do as a base.
ARG BASE_IMAGE=docker.io/library/python:3.12-slim

FROM ${BASE_IMAGE} AS build
RUN apt-get update -q && apt-get install -q -y --no-install-recommends binutils
WORKDIR /src
COPY locks locks
RUN python3 -m venv /tools \
    && /tools/bin/pip install --no-cache-dir --no-deps --require-hashes --only-binary :all: \
        -r locks/build.txt
# Versions are those of the lock file, each with its checksum; `make lock` makes it.
ARG VARIANT=cpu
ENV UV_NO_CACHE=1 UV_NATIVE_TLS=1 UV_PYTHON=/opt/flairseg
RUN python3 -m venv --without-pip /opt/flairseg \
    && /tools/bin/uv pip install --no-deps --require-hashes --only-binary :all: \
        -r locks/${VARIANT}.txt
COPY pyproject.toml README.md LICENSE NOTICE CITATION.cff ./
COPY bids_flairseg bids_flairseg
COPY platforms/container platforms/container
# -EsB: what variables of the host say of Python does not reach inside (Apptainer hands them on),
# and nothing is compiled into the image by whoever could write there.
RUN PATH=/tools/bin:$PATH /tools/bin/hatchling build -t wheel -d /tmp/wheel \
    && /tools/bin/uv pip install --no-deps /tmp/wheel/*.whl \
    && sh platforms/container/slim /opt/flairseg \
    && TF_CPP_MIN_LOG_LEVEL=2 HOME=/tmp /opt/flairseg/bin/python -B platforms/container/compile.py \
    && sed -i '1s|$| -EsB|' /opt/flairseg/bin/flairseg /opt/flairseg/bin/bids-validator-deno \
    && mkdir -p /opt/flairseg/share/flairseg \
    && cp locks/${VARIANT}.txt /opt/flairseg/share/flairseg/lock.txt \
    && /opt/flairseg/bin/python -B platforms/container/licences.py \
        >/opt/flairseg/share/flairseg/licences.tsv \
    && cp LICENSE NOTICE CITATION.cff /opt/flairseg/share/flairseg/ \
    && /opt/flairseg/bin/flairseg --version

FROM ${BASE_IMAGE}
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="flairseg" \
    org.opencontainers.image.description="Segments hyperintense brain lesions on FLAIR MRI" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.licenses="Apache-2.0"
# Set by whoever builds: where the source is, and of which commit.
ARG SOURCE=
ARG REVISION=
LABEL org.opencontainers.image.source="${SOURCE}" \
    org.opencontainers.image.revision="${REVISION}"
COPY --from=build /opt/flairseg /opt/flairseg
# The name of the image, which goes into the description of every result.
ARG FLAIRSEG_CONTAINER_TAG=flairseg:${VERSION}
ENV FLAIRSEG_CONTAINER_TAG=${FLAIRSEG_CONTAINER_TAG}
# A user who is only a number has no home, and nothing asks the network for newer versions.
ENV PATH=/opt/flairseg/bin:/usr/local/bin:/usr/bin:/bin LANG=C.UTF-8 HOME=/tmp MPLBACKEND=Agg \
    NO_ET=1 PYTHONUNBUFFERED=1 PYTHONNOUSERSITE=1 PYTHONDONTWRITEBYTECODE=1
USER 1000:1000
WORKDIR /tmp
ENTRYPOINT ["flairseg"]
