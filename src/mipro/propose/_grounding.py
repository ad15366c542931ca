"""What the proposer knows of data and program; made once, used for every proposal."""

from __future__ import annotations

import typing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mipro.adapters import is_optional
from mipro.propose._ask import Asker, Question
from mipro.propose._facts import FieldFacts, facts_of
from mipro.propose._guards import clean, is_refusal
from mipro.propose._leaks import Corpus, LeakCheck
from mipro.propose._program import call_form, source, structure
from mipro.propose._signatures import (
    WORKED_DESCRIPTIONS,
    DescribeData,
    DescribeModule,
    DescribeProgram,
    MergeObservations,
)
from mipro.propose._text import clip, show_example, show_examples
from mipro.signature import unaliased

if TYPE_CHECKING:
    import random
    from collections.abc import Collection, Sequence

    from mipro.example import Example
    from mipro.modules import Module

# Bounds on what is shown, in tokens, whatever the size of an example or a program.
_VIEW_TOKENS = 700
_SOURCE_TOKENS = 1500
_STRUCTURE_TOKENS = 600
_EXAMPLE_TOKENS = 200
_DESCRIPTION_TOKENS = 200
# Views of the data; a fourth hardly ever adds anything to a summary of three sentences.
_MAX_VIEWS = 3


@dataclass(frozen=True, slots=True)
class Grounding:
    """What the proposer knows of the task."""

    summary: str = ""
    """What a model says about the training data, or ""."""
    program_description: str = ""
    """What a model says about the program, or "" where its structure says it all."""
    modules: tuple[str, ...] = ()
    """The call of each predictor, such as "Predict(question) -> answer"."""
    roles: tuple[str, ...] = ()
    """What a model says about the role of each predictor; "" for a frozen one, or the only one."""
    facts: tuple[tuple[FieldFacts, ...], ...] = ()
    """For each predictor what the training data show of its outputs."""
    notes: tuple[str, ...] = ()
    """What could not be found out, and why."""

    def data_description(self, p: int) -> str:
        """Return all that is known of the data of predictor `p`, as sentences."""
        facts = [fact.sentence or " ".join(fact.notes) for fact in self.facts[p]]
        return " ".join(part for part in [self.summary, *facts] if part)

    def program_text(self, p: int) -> str:
        """Return all that is known of the program and of predictor `p` in it."""
        call = [self.modules[p] if self.program_description else "", self.roles[p]]
        parts = [self.program_description, ": ".join(part for part in call if part)]
        return " ".join(part for part in parts if part)

    def label_sentence(self, p: int) -> str:
        """Return the sentence that states the closed label sets of predictor `p`, or ""."""
        return " ".join(fact.sentence for fact in self.facts[p] if fact.sentence)


def ground(
    program: Module,
    trainset: Sequence[Example],
    corpus: Corpus,
    asker: Asker,
    *,
    rng: random.Random,
    view_size: int | None,
    program_aware: bool = True,
    frozen: Collection[int] = (),
) -> Grounding:
    """Find out about data and program: views and description at once, then what needs them.

    Args:
        program: The program; not modified.
        trainset: Training examples.
        corpus: Their text; an observation that copies it is not used.
        asker: Asks the prompt model.
        rng: Source of the views; advanced in place.
        view_size: Training examples per view; None to leave the data aside.
        program_aware: Whether to look at the program.
        frozen: Places of predictors that nothing is proposed for, whose role need not be known.
    """
    max_views = 1 if asker.is_local else _MAX_VIEWS
    views = _views(trainset, view_size, rng)[:max_views] if view_size else []
    predictors = program.predictors()
    code = _code(program, len(predictors)) if program_aware else ""
    questions = [Question(DescribeData, {"examples": view}, worked=WORKED_DESCRIPTIONS) for view in views]
    if code:
        questions.append(
            Question(DescribeProgram, {"program_code": code, "program_example": _example(trainset)})
        )
    first = _told(asker, questions)
    copies = LeakCheck(corpus)
    observations = [text for text in first[: len(views)] if text and not copies.find_copied(text)]
    description = first[-1] if code else ""

    modules = tuple(call_form(predictor) for predictor in predictors)
    asked = [p for p in range(len(predictors)) if p not in frozen] if code and len(predictors) > 1 else []
    questions = _role_questions(program, description, modules, asked)
    if len(observations) > 1:
        listed = "\n".join(f"- {text}" for text in observations)
        questions.append(Question(MergeObservations, {"observations": listed}))
    second = _told(asker, questions)
    merged = [text for text in second[len(asked) :] if text and not copies.find_copied(text)]
    roles = dict(zip(asked, second, strict=False))
    summary = next(iter([*merged, *observations]), "")
    return Grounding(
        summary=summary,
        program_description=description,
        modules=modules if program_aware else ("",) * len(modules),
        roles=tuple(roles.get(p, "") for p in range(len(modules))),
        facts=tuple(_facts(predictor, corpus.examples) if view_size else () for predictor in predictors),
        notes=_notes(views, summary, code, description),
    )


def _told(asker: Asker, questions: Sequence[Question]) -> list[str]:
    """Return the answers, cleaned and bounded; "" for what is none."""
    texts = (clean(answer.text) for answer in asker.ask(questions))
    return ["" if is_refusal(text) else clip(text, _DESCRIPTION_TOKENS) for text in texts]


def _views(trainset: Sequence[Example], view_size: int, rng: random.Random) -> list[str]:
    """Return samples of the training data as text, each bounded in tokens."""
    if not trainset:
        return []
    size = max(min(view_size, len(trainset)), 1)
    count = min(_MAX_VIEWS, -(-len(trainset) // size))
    places = rng.sample(range(len(trainset)), min(count * size, len(trainset)))
    fields = _fields(trainset)
    return [
        show_examples([trainset[i] for i in places[start : start + size]], fields, _VIEW_TOKENS)
        for start in range(0, len(places), size)
    ]


def _fields(trainset: Sequence[Example]) -> list[str]:
    """Return the names of all fields, inputs first."""
    names = dict.fromkeys(name for row in trainset for name in row)
    inputs = {name for row in trainset for name in (row._input_keys or ())}  # noqa: SLF001 - `inputs()` refuses examples without inputs
    return sorted(names, key=lambda name: name not in inputs)


def _example(trainset: Sequence[Example]) -> str:
    return show_example(trainset[0], _fields(trainset[:1]), _EXAMPLE_TOKENS) if trainset else "none"


def _code(program: Module, num_predictors: int) -> str:
    """Return the program as text, or "" where a model could add nothing to its call form."""
    text = source(program, _SOURCE_TOKENS)
    if not text and num_predictors < 2:  # noqa: PLR2004 - a bare predictor
        return ""
    calls = structure(program, _STRUCTURE_TOKENS)
    return f"{text}\n\nIts calls:\n{calls}" if text else calls


def _role_questions(
    program: Module, description: str, modules: Sequence[str], asked: Sequence[int]
) -> list[Question]:
    calls = structure(program, _STRUCTURE_TOKENS)
    names = [name for name, _ in program.named_predictors()]
    return [
        Question(
            DescribeModule,
            {
                "program_description": description or "not known",
                "program_code": calls,
                "module": f"{names[p]}: {modules[p]}",
            },
        )
        for p in asked
    ]


def _facts(predictor: Any, examples: Sequence[Example]) -> tuple[FieldFacts, ...]:
    """Return the facts on the outputs whose type does not say them already."""
    return tuple(
        facts
        for name, field in predictor.signature.output_fields.items()
        if not _says_its_values(field.annotation)
        if (facts := facts_of(examples, name, takes_none=is_optional(field.annotation))).labels or facts.notes
    )


def _says_its_values(annotation: Any) -> bool:
    """Whether the adapter tells the possible values anyway: bool, enum, Literal, or None beside these."""
    annotation = unaliased(annotation)
    if is_optional(annotation):
        others = [part for part in typing.get_args(annotation) if part is not type(None)]
        return bool(others) and all(map(_says_its_values, others))
    if typing.get_origin(annotation) is typing.Literal:
        return True
    return annotation is bool or bool(getattr(annotation, "__members__", None))


def _notes(views: Sequence[str], summary: str, code: str, description: str) -> tuple[str, ...]:
    notes = []
    if views and not summary:
        notes.append("the prompt model gave no usable summary of the data; proposals go without it.")
    if code and not description:
        notes.append("the prompt model gave no readable description of the program; proposals go without it.")
    return tuple(notes)
