# Redis from Debian, for the end-to-end tests alone.
ARG BASE=debian:bookworm-slim

FROM ${BASE}
# The account comes first: the package takes one of this name as it finds it.
# hadolint ignore=DL3008
RUN echo 'redis:x:999:999:Redis:/tmp:/usr/sbin/nologin' >> /etc/passwd \
 && echo 'redis:x:999:' >> /etc/group \
 && apt-get update \
 && apt-get install --yes --no-install-recommends redis-server redis-tools \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    LANG=C.UTF-8
WORKDIR /tmp
USER 999:999
CMD ["redis-server"]
