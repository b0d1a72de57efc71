"""How good retrieval is: judged questions, the usual measures as trec_eval computes them, and how sure they are."""

from sibyl_runtime.evaluation.bootstrap import Bootstrap, Estimate
from sibyl_runtime.evaluation.metrics import mean, ndcg, ranked, recall, reciprocal_rank
from sibyl_runtime.evaluation.questions import JudgedQuestions, Question, QuestionsInvalid, read_questions
from sibyl_runtime.evaluation.report import FEWEST_QUESTIONS, Answer, Difference, Report, Run, measure_names, report

__all__ = [
    "FEWEST_QUESTIONS",
    "Answer",
    "Bootstrap",
    "Difference",
    "Estimate",
    "JudgedQuestions",
    "Question",
    "QuestionsInvalid",
    "Report",
    "Run",
    "mean",
    "measure_names",
    "ndcg",
    "ranked",
    "read_questions",
    "recall",
    "reciprocal_rank",
    "report",
]
