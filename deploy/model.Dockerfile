# An image with the model in it, which workers then need not fetch; jobs say --model /opt/beam-predict/model. Built from
# the model's folder, or from one that holds its file:
#
#   gcloud storage cp -r gs://BUCKET/model .
#   docker build -f deploy/model.Dockerfile -t NEW_IMAGE --build-arg BASE=IMAGE --build-arg IMAGE=NEW_IMAGE model

ARG BASE
# hadolint ignore=DL3006
FROM ${BASE}
COPY . /opt/beam-predict/model
ARG IMAGE=
ENV BEAM_PREDICT_IMAGE=${IMAGE}
