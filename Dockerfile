# docker build -t flairseg --build-arg FLAIRSEG_CONTAINER_TAG=flairseg .
# docker run --rm --user "$(id -u):$(id -g)" -v /path/to/bids:/bids:ro -v /path/to/out:/out \
#     flairseg /bids /out participant
FROM python:3.12-slim

COPY pyproject.toml README.md LICENSE /opt/flairseg/
COPY bids_flairseg /opt/flairseg/bids_flairseg
RUN pip install --no-cache-dir /opt/flairseg && flairseg --version

# The name of the image, which goes into the description of every result.
ARG FLAIRSEG_CONTAINER_TAG=flairseg
ENV FLAIRSEG_CONTAINER_TAG=${FLAIRSEG_CONTAINER_TAG}
# A user who is only a number has no home, and nothing asks the network for newer versions.
ENV HOME=/tmp MPLBACKEND=Agg NO_ET=1 PYTHONUNBUFFERED=1
WORKDIR /tmp
ENTRYPOINT ["flairseg"]
