"""Where chunks and their vectors live: PostgreSQL with pgvector."""
