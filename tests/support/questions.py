"""Questions by how complex a reader finds them, for tests of what the rules find.

They were written by the authors of the rules: they hold what the rules do in place, and prove nothing about others.
"""

from __future__ import annotations

SIMPLE = (
    "What is HNSW?",
    "How do I install the operator?",
    "Where are the logs?",
    "Which port serves the metrics?",
    "What does top_k mean?",
    "Who maintains the Helm chart?",
    "How many replicas run by default?",
    "When was version 0.8.4 released?",
    "List the environment variables of the runtime.",
    "What is the default chunk size?",
    "Show me an example of a workspace file",
    "How long is an answer kept in the cache?",
    "What is the maximum size of a request?",
    "Does the operator need cluster-wide rights?",
    "How do I rotate an API key?",
    "vacation policy",
    "What is the price of the enterprise plan?",
    "Is Redis required?",
    "Where can I download the report for 2023?",
    "What is the password policy and the session timeout?",
    "How do I reset my password if I forgot it?",
    "Why does a pod restart?",
    "What happens when Redis is down?",
    "How many days of leave do I have per year?",
)
COMPLEX = (
    "Compare HNSW and IVFFlat for ten million vectors and explain which one recovers better after many deletes.",
    "Why does p95 latency rise when the connection pool is full, and what should be changed first?",
    "What are the trade-offs between a Builtin database and an External one, and when would you recommend each?",
    "Explain how semantic caching affects answer quality compared with exact caching, and why a threshold of 0.95 can "
    "still serve wrong answers.",
    "If we double the number of replicas but keep max_connections at 200, what happens to the pool, and how should "
    "pool_size be set?",
    "Analyse the differences between reranking with a cross-encoder and fusion, and recommend one for CPU-only nodes.",
    "Which is cheaper over a year, 3 replicas of 8 GB or 6 replicas of 4 GB, and how does that affect availability?",
    "Should we use gpt-4 or gpt-3.5-turbo for support questions, considering cost, latency and wrong answers?",
    "Design a rollout plan that moves 5 workspaces to a new embedding model without downtime, and explain each step.",
    "How does chunk overlap interact with top_k, and why would a larger overlap lower recall when chunks are short?",
    "What caused the outage in March, how was it different from the one in May, and what should we do to prevent both?",
    "Evaluate the pros and cons of keyword search versus vector search for product codes, and say if hybrid is worse.",
    "Explain why the operator refuses a pool larger than max_connections, and compare that with what a proxy would do.",
    "Given that embeddings are int8, how do results differ from fp32, and what are the implications for thresholds?",
    "Compare the parental leave rules of Germany and France, and explain what happens if somebody moves between them.",
    "Why is the cost per query higher on weekends than on weekdays, and which settings would reduce it without hurting "
    "quality?",
    "What are the advantages of server-side apply over update, and why is it better when two controllers share one?",
    "Assess the impact of raising ef_search from 40 to 200 on latency and recall, and recommend a value.",
    "Derive the memory that an HNSW index of 2 million 768-dimensional vectors needs and compare it with half vectors.",
    "How should a team decide between one workspace with filters and many workspaces, depending on tenants and budget?",
    "Explain step by step how a question travels through the runtime, and where time is lost when the cache misses.",
    "What is the difference between liveness and readiness here, and why should readiness not check the model?",
    "Summarise the arguments for and against storing vectors in PostgreSQL, and explain which ones still hold at 100 "
    "million rows.",
    "Justify why a secret is created and not applied, and what the consequences would be if two operators disagreed.",
)
