"""`sibyl eval`: how well judged questions are answered, and whether another configuration does better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NoReturn

import typer

from sibyl_runtime.cli.asking import Asking, answers_of, opened
from sibyl_runtime.cli.evaluation_report import as_document, lines
from sibyl_runtime.cli.exit_codes import ExitCode
from sibyl_runtime.cli.output import plural, print_json
from sibyl_runtime.cli.run import run_async
from sibyl_runtime.cli.service import Service
from sibyl_runtime.evaluation import Bootstrap, JudgedQuestions, Report, measure_names, read_questions, report

ADDRESSES = ("http://", "https://")


@dataclass(frozen=True)
class Target:
    """What is evaluated: a workspace file, or an address with its key."""

    name: str
    service: Service | None


@dataclass(frozen=True)
class Options:
    """The command line of `sibyl eval`. `least` is what each measure must reach."""

    questions: Path
    qrels: Path | None
    targets: Sequence[Target]
    asking: Asking
    cutoffs: Sequence[int]
    least: Mapping[str, float]
    method: Bootstrap


def targets(
    file: Path | None, server: str | None, compare: str | None, *, api_key: str | None, api_key_header: str
) -> list[Target]:
    """The one or two that are evaluated: a server where an address is given, else a file. Raises BadParameter."""
    chosen = server or (str(file) if file is not None else None)
    if chosen is None:
        raise typer.BadParameter("give one of them", param_hint="--file / --server")
    if server is not None and not server.startswith(ADDRESSES):
        raise typer.BadParameter(f'"{server}" is not the address of a server; write http://HOST:PORT')
    if compare == chosen:
        raise typer.BadParameter("is what is evaluated already; give another one", param_hint="--compare")
    return [
        Target(each, Service(each, api_key, api_key_header) if each.startswith(ADDRESSES) else None)
        for each in (chosen, compare)
        if each is not None
    ]


def required(given: Sequence[str], cutoffs: Sequence[int]) -> dict[str, float]:
    """{"ndcg@10": 0.4} from ["ndcg@10=0.4"]. Raises BadParameter, which typer reports as wrong usage."""
    known = measure_names(cutoffs)
    least: dict[str, float] = {}
    for text in given:
        name, _, number = text.partition("=")
        if name not in known:
            raise typer.BadParameter(
                f'"{name}" is not measured; measured: {", ".join(known)} (-k sets where lists are cut)',
                param_hint="--fail-below",
            )
        try:
            least[name] = float(number)
        except ValueError:
            least[name] = -1.0
        if not 0 <= least[name] <= 1:
            raise typer.BadParameter(f'"{text}" needs a number from 0 to 1', param_hint="--fail-below")
    return least


def evaluate(options: Options, *, as_json: bool) -> NoReturn:
    """Ask, compute, print. Ends the process with an ExitCode."""
    found, notes = run_async(lambda: _evaluate(options))
    missed = {name: least for name, least in options.least.items() if found.runs[0].measures[name].value < least}
    if as_json:
        print_json(as_document(found, notes, missed))
    else:
        print("\n".join(lines(found, notes, missed)))
    raise SystemExit(ExitCode.BELOW if missed else ExitCode.OK)


async def _evaluate(options: Options) -> tuple[Report, list[str]]:
    questions = read_questions(options.questions, options.qrels)
    async with AsyncExitStack() as stack:
        asked = {
            each.name: await stack.enter_async_context(opened(each.name, each.service, options.asking))
            for each in options.targets
        }
        judged = set(chain.from_iterable(question.grades for question in questions.questions))
        unchecked = []
        for name, each in asked.items():
            known = await each.known(judged)
            if known is None:
                unchecked.append(name)
            else:
                questions.check_documents(known)
        answers = await answers_of(questions, asked)
    found = report(questions.questions, answers, options.cutoffs, options.method)
    return found, _notes(found, questions, unchecked, max(options.cutoffs))


def _notes(found: Report, questions: JudgedQuestions, unchecked: Sequence[str], deepest: int) -> list[str]:
    notes = []
    if questions.unjudged:
        notes.append(f"{plural(questions.unjudged, 'question')} of {questions.path} without a judgement, not asked")
    for run in found.runs:
        if run.most_documents < deepest:
            notes.append(
                f"{run.name} answers with {plural(run.most_documents, 'document')} at most, and {deepest} are judged; "
                "--top-k asks for more chunks"
            )
        if run.from_cache:
            notes.append(
                f"{plural(run.from_cache, 'answer')} of {run.name} came from its cache, with the cache's times"
            )
    notes += [f"whether {name} holds the judged documents could not be checked" for name in unchecked]
    return notes
