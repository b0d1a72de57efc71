from __future__ import annotations

import os
import pwd
import shutil
import stat
import tempfile
from pathlib import Path

import pytest

from sibyl_runtime.errors import StartupError
from sibyl_runtime.store import installation
from sibyl_runtime.store.child import Account
from sibyl_runtime.store.installation import can_reach, find_installation, reachable_installation, server_account

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
STRANGER = Account(4_711, 4_712)


def test_the_installation_holds_the_programs() -> None:
    prefix = find_installation()
    assert (prefix / "bin" / "initdb").is_file()
    assert (prefix / "bin" / "postgres").is_file()


def test_a_missing_package_is_named_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "_PACKAGE", "no_such_package")
    with pytest.raises(StartupError, match=r"providers\.vector_store\.<name>\.dsn.*the extra `embedded`"):
        find_installation()


@pytest.mark.parametrize(
    ("mode", "account", "reachable"),
    [
        (0o755, STRANGER, True),
        (0o700, STRANGER, False),
        (0o711, STRANGER, True),
        (0o700, Account(os.getuid(), 4_712), True),
        (0o770, Account(4_711, os.getgid()), True),
        (0o707, Account(4_711, os.getgid()), False),
    ],
)
def test_reach_follows_the_mode_of_every_directory_above(mode: int, account: Account, reachable: bool) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as directory:
        inner = Path(directory) / "inner"
        inner.mkdir()
        Path(directory).chmod(mode)
        try:
            assert can_reach(account, inner) is reachable
        finally:
            Path(directory).chmod(0o700)


def test_an_ordinary_user_runs_the_server_as_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4_711)
    assert server_account(tmp_path / "not-there-yet") is None


def test_data_of_another_user_is_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4_711)
    owner = pwd.getpwuid(tmp_path.stat().st_uid).pw_name
    with pytest.raises(StartupError, match=f"belongs to user {owner}, and this process runs as 4711"):
        server_account(tmp_path)


@as_root
def test_root_gives_new_data_to_nobody_and_leaves_old_data_to_its_owner(tmp_path: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    assert server_account(tmp_path / "new") == Account(nobody.pw_uid, nobody.pw_gid)
    os.chown(tmp_path, 4_711, 4_712)
    assert server_account(tmp_path) == Account(4_711, 4_712)


def test_a_reachable_installation_is_used_where_it_is() -> None:
    prefix = find_installation()
    assert reachable_installation(prefix, None) == prefix


@pytest.fixture
def closed_installation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small stand-in for the package, in a directory that only its owner may enter."""
    prefix = tmp_path / "closed" / "pginstall"
    for part in ("bin", "lib", "share"):
        (prefix / part).mkdir(parents=True)
        (prefix / part / "postgres").write_text(part)
    (tmp_path / "closed").chmod(0o700)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(temporary))
    return prefix


def test_a_closed_installation_is_copied_once(closed_installation: Path) -> None:
    first = reachable_installation(closed_installation, STRANGER)
    assert first != closed_installation
    assert (first / "bin" / "postgres").read_text() == "bin"
    assert stat.S_IMODE(first.stat().st_mode) == 0o755
    inode = first.stat().st_ino
    assert reachable_installation(closed_installation, STRANGER).stat().st_ino == inode
    assert stat.S_IMODE(closed_installation.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("fault", ["writable by others", "a symbolic link"])
def test_a_copy_that_somebody_else_may_have_made_is_refused(closed_installation: Path, fault: str) -> None:
    copy = reachable_installation(closed_installation, STRANGER)
    if fault == "writable by others":
        copy.chmod(0o777)
    else:
        shutil.rmtree(copy)
        copy.symlink_to("/usr")
    with pytest.raises(StartupError, match="was not made by this program"):
        reachable_installation(closed_installation, STRANGER)
