# Before a read replica starts: write the password where PostgreSQL looks for it, and copy the primary if there is no
# data yet. The replica's slot keeps the primary from removing what the replica has not received.
#
# PRIMARY_HOST: the Service of the primary. REPLICATION_CREDENTIALS: a directory with a file password.
. "$DATABASE_CONFIG/common.sh"
. "$DATABASE_CONFIG/primary.sh"

TRIES=${TRIES:-60}
PAUSE=${PAUSE:-2}

# In a password file, a backslash stands before a colon or a backslash.
write_password() {
    password=$(sed 's/[\\:]/\\&/g' "$REPLICATION_CREDENTIALS/password")
    printf '*:*:*:sibyl_replication:%s\n' "$password" >"$PASSFILE.new"
    mv "$PASSFILE.new" "$PASSFILE"
}

copy() {
    rm -rf "$PGDATA.new"
    pg_basebackup --pgdata "$PGDATA.new" --dbname "$PRIMARY" --wal-method stream --checkpoint fast --no-password \
        --write-recovery-conf --slot "$SLOT" "$@" >"$DATABASE_RUN/said" 2>&1
}

# The slot is made with the first copy; a copy that was broken off has left it.
try() {
    copy --create-slot && return
    grep -q 'already exists' "$DATABASE_RUN/said" && copy
}

check_image
hold_data
write_password
rm -rf "$PGDATA.new"
if [ ! -e "$PGDATA" ]; then
    left=$TRIES
    until try; do
        reason=$(reason_in "$DATABASE_RUN/said")
        left=$((left - 1))
        case $reason in *'No space left on device'*) left=0 ;; esac
        [ "$left" -gt 0 ] || fail "pg_basebackup failed: $reason"
        printf '%s\n' "not yet: $reason" >&2
        sleep "$PAUSE"
    done
    mv "$PGDATA.new" "$PGDATA"
fi
check_data
