# The server, in place of this shell: signals reach it, and its end is the container's. Arguments go to it.
. "$DATABASE_CONFIG/common.sh"
hold_data
exec postgres -D "$PGDATA" -c config_file="$DATABASE_CONFIG/postgresql.conf" \
    -c hba_file="$DATABASE_CONFIG/pg_hba.conf" -c unix_socket_directories="$DATABASE_RUN" "$@"
