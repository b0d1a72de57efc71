"""The workspace's PostgreSQL as the operator sees it."""
