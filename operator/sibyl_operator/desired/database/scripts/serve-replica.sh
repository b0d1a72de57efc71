# A read replica. What it follows is said on the command line, which wins over what pg_basebackup has written down: a
# new password file or Service name takes effect with a restart.
. "$DATABASE_CONFIG/common.sh"
. "$DATABASE_CONFIG/primary.sh"

# A standby that allows fewer connections than its primary did does not start; the primary may have been lowered since.
connections=$(sed -n 's/^max_connections = //p' "$DATABASE_CONFIG/postgresql.conf")
if command -v pg_controldata >/dev/null; then
    before=$(pg_controldata -D "$PGDATA" | sed -n 's/^max_connections setting: *//p')
    if [ "${before:-0}" -gt "$connections" ]; then connections=$before; fi
fi
exec sh "$DATABASE_CONFIG/serve.sh" -c primary_conninfo="$PRIMARY" -c primary_slot_name="$SLOT" \
    -c max_connections="$connections"
