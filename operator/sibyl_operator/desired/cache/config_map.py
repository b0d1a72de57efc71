"""How Redis is set up: sized by its memory limit, without persistence, and with a password that stands elsewhere."""

from __future__ import annotations

from typing import Any, Final

from sibyl_operator.api.cache_memory import maximum_memory
from sibyl_operator.api.resource import WorkspaceResource
from sibyl_operator.desired.names import CACHE, Names

PORT: Final = 6379
CONFIG_KEY: Final = "redis.conf"
START_KEY: Final = "start.sh"
CONFIG_DIRECTORY: Final = "/etc/redis"
SECRET_DIRECTORY: Final = "/etc/redis-secret"
RUN_DIRECTORY: Final = "/run/redis"

# Settings that every Redis from 6.2 to 8 knows: one that it does not know keeps it from starting.
_CONFIG: Final = """\
# Written by sibyl-operator; change spec.cache of the workspace instead.
bind * -::*
port {port}
protected-mode yes
include {run}/password.conf
dir {run}
daemonize no
logfile ""
tcp-keepalive 60

# Three quarters of the container's memory.
maxmemory {maxmemory}
# Answers that are asked for often stay, however long ago they were made.
maxmemory-policy allkeys-lfu
lazyfree-lazy-eviction yes
lazyfree-lazy-expire yes

# A cache is disposable: nothing is written to disk, and no child process copies the memory.
save ""
appendonly no
"""

# The password goes from the mounted Secret into a file in memory: neither arguments nor the environment show it.
_START: Final = """\
# Written by sibyl-operator. Gives Redis its password, then becomes Redis.
set -eu
umask 077
password=$(cat {secret}/password)
if [ -z "$password" ]; then
  echo 'the Secret of the cache holds no password' >&2
  exit 1
fi
printf 'requirepass "%s"\\n' "$password" > {run}/password.conf
unset password
exec redis-server {config}/redis.conf
"""


def cache_config_map(resource: WorkspaceResource, names: Names) -> dict[str, Any]:
    """The configuration file and the script that starts Redis with it."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": names.metadata(names.cache, component=CACHE),
        "data": configuration(resource),
    }


def configuration(resource: WorkspaceResource) -> dict[str, str]:
    """The files by name; the pods are replaced when one of them changes."""
    places = {"config": CONFIG_DIRECTORY, "run": RUN_DIRECTORY, "secret": SECRET_DIRECTORY}
    maxmemory = maximum_memory(resource.spec.cache.memory)
    return {
        CONFIG_KEY: _CONFIG.format(port=PORT, maxmemory=maxmemory, **places),
        START_KEY: _START.format(**places),
    }
