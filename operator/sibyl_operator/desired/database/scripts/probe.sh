# Does the server take queries? The postmaster keeps its state in the eighth line of its pid file, as pg_ctl reads it.
state=$(sed -n 8p "$PGDATA/postmaster.pid" 2>/dev/null) || true
case $state in
ready* | standby*) ;;
*)
    echo "PostgreSQL is ${state:-not running}"
    exit 1
    ;;
esac
if command -v pg_isready >/dev/null; then exec pg_isready --quiet --host "$DATABASE_RUN" --timeout 3; fi
