"""From a key to a converged workspace: queue, engine, apply, prune and status; the decisions are elsewhere and pure."""
