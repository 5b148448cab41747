# An image with a copy of the model in it, so that workers need not download it:
#
#   beam-predict fetch --model gs://BUCKET/model --folder out/models
#   docker build -f deploy/model.Dockerfile -t NEW_IMAGE --build-arg BASE=IMAGE --build-arg IMAGE=NEW_IMAGE out/models
#
# Jobs say --model gs://BUCKET/model all the same. Workers look there which files the model has, and find the very same
# in the image; if they have changed since, they download them. So begin with an empty folder: `fetch` adds to it.
#
# A job from a template may name a path in its image instead, for which this is not needed: FROM IMAGE, and
# COPY model /opt/beam-predict/model.

ARG BASE
# hadolint ignore=DL3006
FROM ${BASE}
# Root's, and readable for all: so it can be used as whoever the image runs as, and changed by nobody else.
COPY --chmod=755 . /opt/beam-predict/models
ENV BEAM_PREDICT_CACHE=/opt/beam-predict/models
ARG IMAGE=
ENV BEAM_PREDICT_IMAGE=${IMAGE}
