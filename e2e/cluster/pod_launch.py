"""From a Pod to the command line of a local process."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from e2e.cluster.container_process import Launch
from e2e.cluster.kubeconfig import Credentials, write_kubeconfig
from e2e.cluster.pod_env import container_env, expand
from e2e.cluster.pod_spec import ConfigReader, NotStartableError, Pod, container_of, unsupported
from e2e.cluster.pod_volumes import Mount, materialise, rewriter

# A container starts with an almost empty environment, and so does a process here. These describe the machine:
# without the last two, numpy computes wrongly on some processors.
_FROM_THE_HOST = ("PATH", "LANG", "LC_ALL", "TZ", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")


# Where a process listens: all pods share this host, so each gets an address of its own instead of 0.0.0.0.
_ADDRESS_VARIABLES = ("SIBYL_HOST", "SIBYL_OPERATOR_HTTP_HOST")
_SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


@dataclass(frozen=True)
class HostPrograms:
    """How this node finds the program of a container, as it has no images."""

    programs: Mapping[str, Path] = field(default_factory=dict)
    """The first word of a command -> the program of the host. Other words are looked up on PATH."""
    entrypoint: Sequence[str] = ()
    """The command of containers that give none, in the place of an image's entry point."""
    api_server: str = ""
    """The URL of the API server for pods with a token: the well-known path of a pod does not exist on this host."""


class PodLauncher:
    """Prepares one pod for its first and every later start. Volumes are written once, at the first."""

    def __init__(self, reader: ConfigReader, hosts: HostPrograms, directory: Path, address: str) -> None:
        """`directory` is the pod's own and need not exist; `address` is the loopback address of the pod."""
        self._reader = reader
        self._hosts = hosts
        self._directory = directory
        self._address = address
        self._mounts: list[Mount] | None = None

    def launch(self, pod: Pod) -> Launch:
        """What to run. Raises NotStartableError with the reason for the pod's status."""
        refused = unsupported(pod)
        if refused:
            message = f"a process node cannot honour {', '.join(refused)}; remove it or use a node with a kubelet"
            raise NotStartableError("CreateContainerConfigError", message)
        home = self._directory / "home"
        home.mkdir(parents=True, exist_ok=True)
        if self._mounts is None:
            self._mounts = materialise(pod, self._reader, self._directory / "volumes")
        rewrite = rewriter(self._mounts)
        container = container_of(pod)
        env = {name: os.environ[name] for name in _FROM_THE_HOST if name in os.environ}
        env |= {"HOME": str(home), "HOSTNAME": pod["spec"].get("hostname") or pod["metadata"]["name"]}
        variables = container_env(container, pod, self._reader, rewrite)
        env |= variables
        env |= dict.fromkeys(_ADDRESS_VARIABLES, self._address)
        env |= self._sign_in(self._mounts, pod)
        words = [*(container.get("command") or self._hosts.entrypoint), *(container.get("args") or ())]
        command = [expand(rewrite(word), variables) for word in words]
        return Launch(self._resolved(command, env), env, self._cwd(container.get("workingDir"), rewrite, home))

    def _sign_in(self, mounts: Sequence[Mount], pod: Pod) -> dict[str, str]:
        """A kubeconfig with the token of the pod's ServiceAccount, for pods that have one mounted."""
        account = next((mount.host for mount in mounts if mount.path == _SERVICE_ACCOUNT), None)
        if account is None:
            return {}
        credentials = Credentials(
            self._hosts.api_server,
            authority=(account / "ca.crt").read_bytes(),
            token=(account / "token").read_text(),
            namespace=pod["metadata"]["namespace"],
        )
        return {"KUBECONFIG": str(write_kubeconfig(self._directory / "kubeconfig", credentials))}

    def _resolved(self, command: list[str], env: Mapping[str, str]) -> list[str]:
        known = ", ".join(sorted(self._hosts.programs)) or "none"
        if not command:
            raise NotStartableError(
                "CreateContainerConfigError",
                f"no command specified, and this node has no image to take one from; known programs: {known}",
            )
        word = command[0]
        program = self._hosts.programs.get(word) or shutil.which(word, path=env.get("PATH"))
        if program is None:
            raise NotStartableError(
                "RunContainerError", f'exec: "{word}": executable file not found in $PATH; known programs: {known}'
            )
        return [str(program), *command[1:]]

    def _cwd(self, wanted: str | None, rewrite: Callable[[str], str], home: Path) -> Path:
        """The working directory: where it is in a volume or on the host, otherwise the pod's own."""
        directory = Path(rewrite(wanted)) if wanted else home
        return directory if directory.is_dir() else home
