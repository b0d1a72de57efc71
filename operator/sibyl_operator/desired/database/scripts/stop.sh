# A fast shutdown: an image may send SIGTERM, on which PostgreSQL waits for its clients, and pools never leave.
kill -INT "$(sed -n 1p "$PGDATA/postmaster.pid")"
