"""The scripts that start the servers of a Builtin database, against a real PostgreSQL."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.support.builtin_database import Server, Servers, ask, servers
from tests.support.conditions import eventually

PREPARE, COPY = "prepare-primary.sh", "prepare-replica.sh"


@pytest.fixture
def place() -> Iterator[Servers]:
    with servers() as made:
        yield made


@pytest.fixture
def primary(place: Servers) -> Server:
    server = place.primary()
    server.prepare(PREPARE)
    server.serve()
    return server


def app(server: Server, password: str = "first-app", database: str = "sibyl") -> str:
    return server.dsn("sibyl", password, database)


def replication(server: Server, password: str = "first-replication", database: str = "postgres") -> str:
    return server.dsn("sibyl_replication", password, database)


def test_the_first_start_makes_roles_database_and_extension(primary: Server) -> None:
    assert ask(app(primary), "SELECT extversion FROM pg_extension WHERE extname = 'vector'").startswith("0.8.")
    assert ask(app(primary), "CREATE TABLE notes (embedding halfvec(3))") is None
    assert ask(app(primary), "SELECT setting FROM pg_settings WHERE name = 'data_checksums'") == "on"
    assert ask(app(primary), "SELECT pg_encoding_to_char(encoding) || datlocale || rolname FROM pg_database d "
               "JOIN pg_roles r ON r.oid = datdba WHERE datname = 'sibyl'") == "UTF8C.UTF-8sibyl"  # fmt: skip
    rights = "SELECT concat_ws(',', rolsuper, rolcreatedb, rolcreaterole, rolbypassrls, rolreplication, rolcanlogin) "
    assert ask(primary.superuser(), f"{rights} FROM pg_roles WHERE rolname = 'sibyl'") == "f,f,f,f,f,t"
    assert ask(primary.superuser(), f"{rights} FROM pg_roles WHERE rolname = 'sibyl_replication'") == "f,f,f,f,t,t"
    assert ask(primary.superuser(), "SELECT count(*) FROM pg_authid WHERE rolsuper AND rolpassword IS NOT NULL") == 0


@pytest.mark.parametrize(
    ("role", "password", "database"),
    [
        ("sibyl", "wrong", "sibyl"),
        ("sibyl", "first-app", "postgres"),
        ("sibyl_replication", "first-replication", "sibyl"),
        ("postgres", "", "postgres"),
        ("postgres", "first-app", "sibyl"),
    ],
)
def test_over_the_network_each_role_reaches_its_own_database_with_its_password_and_nothing_else(
    primary: Server, role: str, password: str, database: str
) -> None:
    with pytest.raises(psycopg.OperationalError, match=r"no pg_hba.conf entry|password authentication failed"):
        ask(primary.dsn(role, password, database), "SELECT 1")


def test_a_restart_keeps_the_data_and_a_lost_password_is_replaced_by_a_new_one(primary: Server) -> None:
    ask(app(primary), "CREATE TABLE notes AS SELECT 7 AS held")
    primary.stop()
    primary.password("app", "it's a new one; DROP")
    primary.prepare(PREPARE)
    primary.serve()
    with psycopg.connect(host="127.0.0.1", port=primary.port, user="sibyl", password="it's a new one; DROP",
                         dbname="sibyl") as link:  # fmt: skip
        assert link.execute("SELECT held FROM notes").fetchone() == (7,)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        ask(app(primary), "SELECT 1")


def test_after_a_crash_the_server_recovers_what_was_committed(primary: Server) -> None:
    ask(app(primary), "CREATE TABLE notes AS SELECT 7 AS held")
    primary.kill()
    # In a new container the process id of the old server is that of a living process.
    pid_file = primary.pgdata / "postmaster.pid"
    pid_file.write_text(pid_file.read_text().replace(pid_file.read_text().splitlines()[0], str(os.getpid()), 1))
    primary.prepare(PREPARE)
    primary.serve()
    assert ask(app(primary), "SELECT held FROM notes") == 7


def test_a_server_that_is_still_ending_keeps_its_successor_from_the_data(primary: Server) -> None:
    ask(app(primary), "CREATE TABLE notes AS SELECT 7 AS held")
    code, said = primary.run(PREPARE, HOLD_TRIES="2")
    assert (code, said[-1]) == (
        1, "another server still has the data of this volume; it ends with the pod that it runs in"
    )  # fmt: skip
    assert ask(app(primary), "SELECT held FROM notes") == 7
    assert (primary.pgdata / "postmaster.pid").exists()


def test_a_password_is_in_no_log_no_output_and_no_file_but_its_own(place: Servers) -> None:
    server = place.primary()
    server.password("app", "very-secret-word")
    code, said = server.run(PREPARE)
    assert code == 0
    server.serve()
    assert "very-secret-word" not in "\n".join(said)
    assert server.files_hold("very-secret-word") == [server.directory / "app" / "password"]


def test_a_refused_command_does_not_show_the_password(place: Servers) -> None:
    server = place.primary()
    server.prepare(PREPARE)
    server.password("app", "very-secret-word\nand another line")
    code, said = server.run(PREPARE)
    assert code == 1
    assert said[-1].endswith("must be one line of text; delete its Secret, and the operator makes a new one")
    assert "very-secret-word" not in "\n".join(said)


@pytest.mark.parametrize("after", ["PG_VERSION", "global", "base/1", "pg_wal", "global/pg_control", "base/5"])
def test_initdb_killed_at_any_point_leaves_nothing_that_a_second_try_cannot_mend(place: Servers, after: str) -> None:
    server = place.primary()
    process = server.launch(PREPARE)
    staging = server.data / "pgdata.new"
    eventually(lambda: (staging / after).exists() or server.pgdata.exists() or process.poll() is not None)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    server.prepare(PREPARE)
    assert not staging.exists()
    server.serve()
    assert ask(app(server), "SELECT count(*) FROM pg_extension WHERE extname = 'vector'") == 1


def test_a_kill_while_roles_and_database_are_made_is_mended_by_the_next_start(place: Servers) -> None:
    server = place.primary()
    process = server.launch(PREPARE)
    eventually(lambda: server.pgdata.exists() or process.poll() is not None)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    server.prepare(PREPARE)
    server.serve()
    assert ask(app(server), "SELECT current_user") == "sibyl"


def test_stopping_waits_for_no_client(primary: Server) -> None:
    with psycopg.connect(app(primary)) as idle:
        idle.execute("SELECT 1")
        primary.stop()
        with pytest.raises(psycopg.OperationalError):
            idle.execute("SELECT 1")


def test_the_probe_fails_while_no_server_runs(place: Servers) -> None:
    server = place.primary()
    assert server.run("probe.sh") == (1, ["PostgreSQL is not running"])


def test_data_of_another_major_version_and_images_without_postgresql_are_refused_in_one_line(place: Servers) -> None:
    server = place.primary()
    server.prepare(PREPARE)
    (server.pgdata / "PG_VERSION").write_text("17\n")
    code, said = server.run(PREPARE)
    assert (code, said[-1]) == (
        1,
        "the volume holds data of PostgreSQL 17, and the image has 18; the major version cannot be changed in place",
    )
    code, said = server.run(PREPARE, PATH="/usr/bin:/bin")
    assert code == 1
    assert said[-1].startswith("the image has no initdb on its PATH; set spec.database.image to an image with")


def slots(server: Server) -> str:
    return str(ask(replication(server), "SELECT string_agg(slot_name || ' ' || active, ',' ORDER BY slot_name) "
                   "FROM pg_replication_slots"))  # fmt: skip


def test_a_replica_copies_the_primary_and_follows_it(place: Servers, primary: Server) -> None:
    ask(app(primary), "CREATE TABLE notes AS SELECT 7 AS held")
    replica = place.replica(primary)
    replica.prepare(COPY)
    replica.serve()
    assert ask(app(replica), "SELECT held FROM notes") == 7
    ask(app(primary), "UPDATE notes SET held = 8")
    eventually(lambda: ask(app(replica), "SELECT held FROM notes") == 8)
    assert ask(app(replica), "SELECT pg_is_in_recovery()") is True
    eventually(lambda: slots(primary) == "sibyl_replica_0 true")
    # A replica that is down keeps its place, and catches up.
    replica.stop()
    ask(app(primary), "UPDATE notes SET held = 9")
    replica.prepare(COPY)
    replica.serve()
    eventually(lambda: ask(app(replica), "SELECT held FROM notes") == 9)


def test_a_replica_follows_a_changed_password_after_its_restart(place: Servers, primary: Server) -> None:
    replica = place.replica(primary)
    replica.prepare(COPY)
    replica.serve()
    primary.stop()
    primary.password("replication", r"with:colon\and-backslash")
    primary.prepare(PREPARE)
    primary.serve()
    replica.stop()
    replica.prepare(COPY)
    replica.serve()
    eventually(lambda: slots_of(primary) == "sibyl_replica_0 true")


def slots_of(server: Server) -> str:
    return str(ask(server.superuser(), "SELECT string_agg(slot_name || ' ' || active, ',') FROM pg_replication_slots"))


def test_a_replica_whose_volume_is_lost_is_copied_anew_with_the_slot_that_it_had(
    place: Servers, primary: Server, tmp_path: Path
) -> None:
    replica = place.replica(primary)
    replica.prepare(COPY)
    replica.serve()
    replica.kill()
    subprocess.run(["rm", "-rf", str(replica.pgdata)], check=True)
    ask(app(primary), "CREATE TABLE notes AS SELECT 7 AS held")
    replica.prepare(COPY)
    replica.serve()
    assert ask(app(replica), "SELECT held FROM notes") == 7


def test_a_copy_that_was_killed_is_started_over(place: Servers, primary: Server) -> None:
    replica = place.replica(primary)
    process = replica.launch(COPY)
    eventually(lambda: (replica.data / "pgdata.new" / "PG_VERSION").exists() or process.poll() is not None)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)
    replica.prepare(COPY)
    replica.serve()
    assert ask(app(replica), "SELECT pg_is_in_recovery()") is True


def test_a_replica_waits_for_a_primary_that_is_away_and_says_what_it_waits_for(place: Servers) -> None:
    primary = place.primary()
    replica = place.replica(primary)
    code, said = replica.run(COPY, TRIES="2", PAUSE="0")
    assert code == 1
    assert said[-1].startswith("pg_basebackup failed: ")
    assert "Connection refused" in said[-1]
    assert len(said) == 2


def test_a_replica_outlives_a_primary_that_allows_fewer_connections_than_before(place: Servers) -> None:
    primary = place.primary(**{})
    conf = primary.directory / "config" / "postgresql.conf"
    conf.write_text(conf.read_text().replace("max_connections = 100", "max_connections = 200"))
    primary.prepare(PREPARE)
    primary.serve()
    replica = place.replica(primary)
    replica.prepare(COPY)
    replica.serve()
    assert ask(app(replica), "SELECT current_setting('max_connections')") == "200"
