"""Judged questions: what is read, and that every problem is told with its line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sibyl_runtime.evaluation import Question, QuestionsInvalid, read_questions

GOOD = '{"question": "How is bread made?", "relevant": ["bread.md"]}'


def written(folder: Path, *lines: str, name: str = "questions.jsonl") -> Path:
    path = folder / name
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_ids_and_grades_are_read_under_either_spelling(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "\ufeff" + GOOD,
        "",
        '{"text": "Which\u2028bird?", "_id": "b", "relevant": {"birds.md": 2, "bread.md": 0}}\r',
    )
    judged = read_questions(path)
    assert judged.questions == (
        Question("1", "How is bread made?", {"bread.md": 1}, 1),
        Question("b", "Which\u2028bird?", {"birds.md": 2, "bread.md": 0}, 3),
    )


WRONG: list[tuple[str, str]] = [
    ("nonsense", "is not JSON: Expecting value: line 1 column 1 (char 0)"),
    ("[1]", "must be a JSON object such as"),
    ('{"relevant": ["a"]}', "question: is missing"),
    ('{"question": " ", "relevant": ["a"]}', 'question: must be text that asks something, found " "'),
    ('{"question": 5, "relevant": ["a"]}', "question: Input should be a valid string, found 5"),
    ('{"question": "a"}', "relevant: is missing; list ids of documents that answer the question"),
    ('{"question": "a", "relevant": []}', "relevant: no document is relevant, and no answer could be right"),
    ('{"question": "a", "relevant": {"x": 0}}', "relevant: no document is relevant, and no answer could be right"),
    ('{"question": "a", "relevant": "x"}', 'relevant: must be a list of document ids, or an object such as {"guide'),
    ('{"question": "a", "relevant": [1]}', "relevant: must be a list of document ids"),
    ('{"question": "a", "relevant": {"x": -1}}', "relevant.x: Input should be greater than or equal to 0, found -1"),
    ('{"question": "a", "relevant": {"x": "1"}}', 'relevant.x: Input should be a valid integer, found "1"'),
    ('{"question": "a", "relevant": {"x": true}}', "relevant.x: Input should be a valid integer, found true"),
    ('{"question": "a", "relevant": ["x"], "grade": 1}', "grade: is not known, or means the same as another key"),
    ('{"question": "a", "text": "a", "relevant": ["x"]}', "text: is not known, or means the same as another key"),
    ('{"question": "a", "relevant": ["x"], "metadata": {}}', "metadata: has no effect; remove it"),
    ('{"question": "a", "relevant": ["x"], "id": "1"}', 'id: "1" is the id of line 1 too'),
]


@pytest.mark.parametrize(("line", "message"), WRONG)
def test_what_is_wrong_with_a_line_is_told_with_its_number(tmp_path: Path, line: str, message: str) -> None:
    path = written(tmp_path, GOOD, line)
    with pytest.raises(QuestionsInvalid) as caught:
        read_questions(path)
    assert caught.value.message.startswith(f"{path}:2: {message}")
    assert "\n" not in caught.value.message


def test_all_problems_are_told_at_once_but_not_thousands(tmp_path: Path) -> None:
    with pytest.raises(QuestionsInvalid) as caught:
        read_questions(written(tmp_path, *(line for line, _ in WRONG[:3])))
    assert [text.split(":")[1] for text in caught.value.message.splitlines()] == ["1", "2", "3"]
    with pytest.raises(QuestionsInvalid) as caught:
        read_questions(written(tmp_path, *["nonsense"] * 50))
    assert len(caught.value.message.splitlines()) == 21
    assert caught.value.message.endswith("... and 30 more")


def test_a_file_that_holds_or_is_nothing_is_told(tmp_path: Path) -> None:
    with pytest.raises(QuestionsInvalid, match="holds no question"):
        read_questions(written(tmp_path, "", "  "))
    with pytest.raises(QuestionsInvalid, match=r"missing\.jsonl: cannot be read: No such file"):
        read_questions(tmp_path / "missing.jsonl")
    (tmp_path / "latin").write_bytes(b'{"question": "\xe9"}')
    with pytest.raises(QuestionsInvalid, match="is not UTF-8 text"):
        read_questions(tmp_path / "latin")


def test_documents_that_the_collection_does_not_hold_are_told_by_line(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD, '{"question": "a", "relevant": {"gone.md": 1, "never.md": 0}}')
    judged = read_questions(path)
    judged.check_documents(frozenset({"bread.md", "gone.md"}))
    with pytest.raises(QuestionsInvalid) as caught:
        judged.check_documents(frozenset({"bread.md"}))
    assert caught.value.message.startswith(f'{path}:2: relevant: the collection has no document "gone.md"')
    assert "never.md" not in caught.value.message


BEIR = ('{"_id": "q1", "text": "a", "metadata": {}}', '{"_id": "q2", "text": "b"}', '{"_id": "q3", "text": "c"}')


@pytest.mark.parametrize(
    "qrels",
    [
        ["query-id\tcorpus-id\tscore", "q1\td1\t2", "q1\td2\t0", "q3\td1\t1"],
        ["q1 0 d1 2", "q1 0 d2 -1", "q3 0 d1 1"],
    ],
    ids=["BEIR", "TREC"],
)
def test_judgements_come_from_a_file_of_their_own(tmp_path: Path, qrels: list[str]) -> None:
    judged = read_questions(written(tmp_path, *BEIR), written(tmp_path, *qrels, name="qrels.tsv"))
    assert judged.questions == (Question("q1", "a", {"d1": 2, "d2": 0}, 1), Question("q3", "c", {"d1": 1}, 3))
    assert judged.unjudged == 1


WRONG_QRELS: list[tuple[str, str]] = [
    ("q1\td1", "qrels.tsv:2: found 2 fields; write `question document grade`"),
    ("q1\td9\thigh", 'qrels.tsv:2: the grade "high" is no whole number'),
    ("q1\td1\t1", 'qrels.tsv:2: "d1" has two grades for question "q1"; keep one of them'),
    ("q9\td1\t1", 'qrels.tsv:2: judges the question "q9", which'),
    ("q2\td1\t0", "questions.jsonl:2: relevant: no document is relevant"),
]


@pytest.mark.parametrize(("line", "message"), WRONG_QRELS)
def test_what_is_wrong_with_a_judgement_is_told_with_its_line(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(QuestionsInvalid) as caught:
        read_questions(written(tmp_path, *BEIR), written(tmp_path, "q1\td1\t2", line, name="qrels.tsv"))
    assert caught.value.message.startswith(f"{tmp_path}/{message}")


def test_judgements_stand_in_one_place(tmp_path: Path) -> None:
    qrels = written(tmp_path, "1\tbread.md\t1", name="qrels.tsv")
    with pytest.raises(QuestionsInvalid, match=":1: relevant: the judgements come from --qrels"):
        read_questions(written(tmp_path, GOOD), qrels)


texts = st.text(min_size=1).filter(lambda text: text.strip() != "" and "\0" not in text)


@given(st.lists(st.tuples(texts, st.dictionaries(texts, st.integers(1, 5), min_size=1, max_size=4)), min_size=1))
def test_what_is_written_is_what_is_read(
    tmp_path_factory: pytest.TempPathFactory, asked: list[tuple[str, dict[str, int]]]
) -> None:
    path = tmp_path_factory.mktemp("judged") / "questions.jsonl"
    path.write_text(
        "\n".join(json.dumps({"question": text, "relevant": grades}) for text, grades in asked), encoding="utf-8"
    )
    read = read_questions(path).questions
    assert [(question.text, question.grades) for question in read] == asked
