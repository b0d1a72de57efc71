"""How good retrieval is: the usual measures, computed as trec_eval computes them."""

from sibyl_runtime.evaluation.metrics import mean, ndcg, ranked, recall, reciprocal_rank

__all__ = ["mean", "ndcg", "ranked", "recall", "reciprocal_rank"]
