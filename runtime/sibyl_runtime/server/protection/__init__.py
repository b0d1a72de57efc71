"""What stands between a client and the routes: who may call, how often, and what caches and browsers may do.

One place for every route: the middlewares wrap the whole application, and the guard wraps the runtime that all routes
call. A route that is added later is protected without knowing of it.
"""

from sibyl_runtime.server.protection.installation import Protection, protection_of

__all__ = ["Protection", "protection_of"]
