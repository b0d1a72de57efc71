# What the scripts beside this one share. Any image with sh, coreutils, sed, flock, initdb, postgres and pg_basebackup will do.
#
# PGDATA: where the data is, or will be. DATABASE_CONFIG: this directory. DATABASE_RUN: socket and passwords, in memory.
set -eu
umask 077
export LC_ALL=C

MAJOR=18
IMAGE_ADVICE="set spec.database.image to an image with PostgreSQL $MAJOR and pgvector"

# The last line of a container that ends is what the operator tells.
fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

# Run a program; when it fails, print what it said, and as the last line what it failed of.
must() {
    said=$DATABASE_RUN/said
    "$@" >"$said" 2>&1 || {
        cat "$said" >&2
        fail "$1 failed: $(reason_in "$said")"
    }
}

# The line that tells most: PostgreSQL says FATAL, PANIC or ERROR, its tools say error.
reason_in() {
    told=$(grep -E 'FATAL:|PANIC:|ERROR:|error:' "$1" | tail -n 1 || true)
    if [ -z "$told" ]; then told=$(tail -n 1 "$1"); fi
    printf '%s\n' "$told"
}

check_image() {
    for program in initdb postgres pg_basebackup flock; do
        command -v "$program" >/dev/null || fail "the image has no $program on its PATH; $IMAGE_ADVICE"
    done
    found=$(postgres --version | sed -n 's/^postgres (PostgreSQL) \([0-9]*\).*/\1/p')
    [ "$found" = "$MAJOR" ] || fail "the image has PostgreSQL ${found:-of an unknown version}; $IMAGE_ADVICE"
}

# Have the data for ourselves until the last of our processes ends; the kernel lets go with it. A pod that was deleted
# by force may still be ending on this node, and PostgreSQL's own lock does not reach from one container to another.
hold_data() {
    exec 9>"$PGDATA.lock"
    left=${HOLD_TRIES:-60}
    until flock -n 9; do
        left=$((left - 1))
        [ "$left" -gt 0 ] || fail "another server still has the data of this volume; it ends with the pod that it runs in"
        sleep 1
    done
}

check_data() {
    [ -s "$PGDATA/PG_VERSION" ] || fail "$PGDATA holds no PostgreSQL data; it was changed by somebody else"
    held=$(cat "$PGDATA/PG_VERSION")
    [ "$held" = "$MAJOR" ] || fail "the volume holds data of PostgreSQL $held, and the image has $MAJOR; \
the major version cannot be changed in place"
    # A volume that is mounted with a group of its own has become readable by it, which PostgreSQL refuses.
    chmod 0700 "$PGDATA"
    # We hold the data, so whoever wrote this is gone; its process id is in use again in a new container, and PostgreSQL
    # would take that process for a server.
    rm -f "$PGDATA/postmaster.pid"
}
