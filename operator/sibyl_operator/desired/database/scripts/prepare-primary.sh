# Before the primary starts, every time: make the data if there is none, then roles, passwords, database and extension
# what they should be. No server listens meanwhile, and no password is needed for it: a lost one is replaced this way.
#
# APP_CREDENTIALS, REPLICATION_CREDENTIALS: directories with a file password.
. "$DATABASE_CONFIG/common.sh"

# Commands for the single-user mode, one per line; any error ends it. Its log must not hold the passwords.
single_user_mode() {
    postgres --single -D "$PGDATA" -c config_file="$DATABASE_CONFIG/postgresql.conf" \
        -c unix_socket_directories="$DATABASE_RUN" -c exit_on_error=on -c log_statement=none \
        -c log_min_error_statement=panic -c log_min_duration_statement=-1 "$1" <"$2"
}

# The password in a directory, as the inside of an SQL literal.
quoted() {
    content=$(cat "$1/password")
    case $content in
    '' | *'
'*) fail "the password in $1 must be one line of text; delete its Secret, and the operator makes a new one" ;;
    esac
    printf '%s' "$content" | sed "s/'/''/g"
}

# A role that can do what is said, and nothing else.
role() {
    password=$(quoted "$2") || exit 1
    # Not echo: some shells make something else of a backslash.
    printf '%s\n' "DO \$do\$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '$1') THEN CREATE ROLE $1; \
END IF; END \$do\$;" "ALTER ROLE $1 LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS $3 PASSWORD '$password';"
}

check_image
hold_data
# Whatever was killed halfway left only this.
rm -rf "$PGDATA.new"
if [ ! -e "$PGDATA" ]; then
    must initdb --pgdata "$PGDATA.new" --username postgres --data-checksums --encoding UTF8 --locale C \
        --locale-provider builtin --builtin-locale C.UTF-8 --auth-local trust --auth-host scram-sha-256 \
        --no-instructions
    mv "$PGDATA.new" "$PGDATA"
fi
check_data

commands=$DATABASE_RUN/commands
{
    role sibyl "$APP_CREDENTIALS" NOREPLICATION
    role sibyl_replication "$REPLICATION_CREDENTIALS" REPLICATION
} >"$commands"
must single_user_mode postgres "$commands"

echo "SELECT 'database-exists' AS answer FROM pg_database WHERE datname = 'sibyl';" >"$commands"
must single_user_mode postgres "$commands"
if ! grep -q '= "database-exists"' "$DATABASE_RUN/said"; then
    echo "CREATE DATABASE sibyl OWNER sibyl;" >"$commands"
    must single_user_mode postgres "$commands"
fi
printf '%s\n' 'CREATE EXTENSION IF NOT EXISTS vector;' 'ALTER EXTENSION vector UPDATE;' >"$commands"
must single_user_mode sibyl "$commands"
rm -f "$commands" "$DATABASE_RUN/said"
