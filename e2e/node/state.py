"""What the machine was like before the node, and what was started: written before each step, read by whoever cleans.

It is the only thing that a later run knows of one that was killed.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from e2e.cluster.errors import ClusterError
from e2e.node import machine

_VERSION = 1


@dataclass(frozen=True)
class State:
    """`sysctls` are values by name; the lists name what was there already and is not to be removed.

    `processes` are the ids of the programs that were started, with their start times (ticks since boot).
    """

    sysctls: dict[str, str] = field(default_factory=dict)
    chains: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    network_namespaces: list[str] = field(default_factory=list)
    processes: dict[str, tuple[int, int]] = field(default_factory=dict)

    def with_process(self, name: str, pid: int) -> State:
        """The state with one more program. One that has ended already is left out."""
        started = machine.start_time(pid)
        return self if started is None else replace(self, processes={**self.processes, name: (pid, started)})


def observed() -> State:
    """The machine as it is now, without a node."""
    return State(
        sysctls=machine.sysctls(),
        chains=machine.chains(),
        paths=[path for path in machine.PATHS if Path(path).exists()],
        network_namespaces=machine.network_namespaces(),
    )


def write_state(path: Path, state: State) -> None:
    """Write the record whole or not at all; it is on disk when this returns."""
    scratch = path.with_suffix(".new")
    with scratch.open("w") as file:
        json.dump({"version": _VERSION, **asdict(state)}, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    scratch.rename(path)


def read_state(path: Path) -> State | None:
    """The record; None where there is none. Raises ClusterError for one that this version cannot read."""
    try:
        document = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ClusterError(f"{path} is no record of a node ({error}): put the machine back by a restart") from error
    if document.pop("version", None) != _VERSION:
        raise ClusterError(f"{path} was written by another version of e2e.node: run `python -m e2e.node --clean` there")
    document["processes"] = {name: (pid, started) for name, (pid, started) in document["processes"].items()}
    return State(**document)
