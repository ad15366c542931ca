"""Stage 2 of MIPROv2: instructions to choose from, proposed by the prompt model."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mipro.propose._ask import Asker, OnProgress
from mipro.propose._bandit import what_paid
from mipro.propose._desk import Desk
from mipro.propose._grounding import Grounding, ground
from mipro.propose._leaks import Corpus
from mipro.propose._records import Lessons, Origin, Proposals, ProposalSettings
from mipro.propose._signatures import worked_texts

if TYPE_CHECKING:
    import random
    from collections.abc import Collection, Sequence

    from mipro.example import Example
    from mipro.lm import BaseLM
    from mipro.modules import Module


def propose_instructions(  # noqa: PLR0913 - the settings of a stage, keyword-only
    program: Module,
    trainset: Sequence[Example],
    demo_sets: Any = None,
    *,
    prompt_lm: BaseLM,
    count: int,
    rng: random.Random,
    init_temperature: float = 1.0,
    view_data_batch_size: int = 10,
    data_aware: bool = True,
    program_aware: bool = True,
    tip_aware: bool = True,
    fewshot_aware: bool = True,
    num_threads: int = 1,
    keep: Sequence[str] = (),
    max_instruction_tokens: int | None = None,
    frozen: Collection[int] = (),
    groundwork: Groundwork | None = None,
    on_progress: OnProgress | None = None,
) -> Proposals:
    """Propose grounded instructions for every predictor, all at the same time.

    The original instruction is entry 0 and costs no call. Each proposal has a tip and a
    draw of its own. Where the training data show a closed set of labels, all proposals
    but every fourth have a sentence that states it.

    Args:
        program: Program to improve; not modified.
        trainset: Training examples; also what the proposals must not give away.
        demo_sets: `DemoSets` whose `grounding` is shown to the model, or None.
        prompt_lm: Model that writes the instructions.
        count: Instructions per predictor, the original included; fewer come back where
            the model's answers can't be used.
        rng: Source of tips, views and draws; advanced in place.
        init_temperature: Sampling temperature of the proposals; reasoning models get none.
        view_data_batch_size: Training examples in each view that the summary is made from.
        data_aware: Whether to look at the training data.
        program_aware: Whether to describe program and predictors.
        tip_aware: Whether to give tips.
        fewshot_aware: Whether to show demos.
        num_threads: Calls under way at the same time; does not change the result.
        keep: Parts of the original instructions that must stay, word for word.
        max_instruction_tokens: Bound on the (estimated) tokens of an instruction.
        frozen: Places of predictors that keep their instruction.
        groundwork: What `lay_groundwork` returned for the same arguments; `rng` is the one that
            it has advanced.
        on_progress: Called after each call with the number of calls made and the number
            known to be needed so far.

    Returns:
        The instructions, with what was found out on the way. If no answer can be used
        there is the original only, with a note.

    Raises:
        LMError: The prompt model can't be reached.
        RunStopped: The run may make no more calls.

    References:
        Opsahl-Ong et al., 2024, arXiv:2406.11695.
    """
    how = ProposalSettings(
        count,
        init_temperature,
        tip_aware,
        fewshot_aware,
        tuple(keep),
        max_instruction_tokens,
        frozenset(frozen),
    )
    originals = Proposals.original(program)
    if count <= 1:
        return originals
    groundwork = groundwork or lay_groundwork(
        program,
        trainset,
        prompt_lm=prompt_lm,
        rng=rng,
        view_data_batch_size=view_data_batch_size,
        data_aware=data_aware,
        program_aware=program_aware,
        num_threads=num_threads,
        frozen=frozen,
        on_progress=on_progress,
    )
    asker = Asker(prompt_lm, num_threads=num_threads, on_progress=on_progress, num_calls=groundwork.num_calls)
    demos = getattr(demo_sets, "grounding", None) or ((),) * len(originals.instructions)
    desk = Desk(program, groundwork.corpus, groundwork.grounding, how, demos=demos)
    proposals = desk.propose(asker, originals.instructions, rng)
    return replace(
        proposals,
        origins=_joined(originals.origins, proposals.origins),
        notes=(*groundwork.grounding.notes, *proposals.notes),
    )


@dataclass(frozen=True, slots=True)
class Groundwork:
    """What proposals are made from and what does not need the demos."""

    corpus: Corpus
    """The training examples, which must not be given away."""
    grounding: Grounding
    """What is known of data and program."""
    num_calls: int
    """Calls of the prompt model that it took."""


def lay_groundwork(  # noqa: PLR0913 - the settings of a stage, keyword-only
    program: Module,
    trainset: Sequence[Example],
    *,
    prompt_lm: BaseLM,
    rng: random.Random,
    view_data_batch_size: int = 10,
    data_aware: bool = True,
    program_aware: bool = True,
    num_threads: int = 1,
    frozen: Collection[int] = (),
    on_progress: OnProgress | None = None,
) -> Groundwork:
    """Find out about data and program, as `propose_instructions` does first; all arguments as there."""
    asker = Asker(prompt_lm, num_threads=num_threads, on_progress=on_progress)
    corpus = Corpus(trainset, others=worked_texts())
    grounding = ground(
        program,
        trainset,
        corpus,
        asker,
        rng=rng,
        view_size=view_data_batch_size if data_aware else None,
        program_aware=program_aware,
        frozen=frozenset(frozen),
    )
    return Groundwork(corpus, grounding, asker.num_calls)


def propose_more(  # noqa: PLR0913 - the settings of a stage, keyword-only
    program: Module,
    trainset: Sequence[Example],
    before: Proposals,
    *,
    prompt_lm: BaseLM,
    settings: ProposalSettings,
    rng: random.Random,
    lessons: Lessons,
    demos: Sequence[Sequence[Example]] = (),
    num_threads: int = 1,
) -> Proposals:
    """Propose one more round of instructions with what the search has learned.

    Args:
        program: Program to improve; not modified.
        trainset: Training examples.
        before: The proposals so far; their grounding is used again, and near-duplicates
            of them are not taken.
        prompt_lm: Model that writes the instructions.
        settings: How to propose; `count` is the number per predictor in the end.
        rng: Source of tips and draws; advanced in place.
        lessons: What the search has learned; the mistakes are of training data only. Tips
            and what is shown are drawn by how well they paid so far.
        demos: For each predictor good demos to show.
        num_threads: Calls under way at the same time.

    Returns:
        `before` with the new instructions after the old ones.
    """
    asker = Asker(prompt_lm, num_threads=num_threads)
    demos = demos or ((),) * len(before.instructions)
    desk = Desk(
        program,
        Corpus(trainset, others=worked_texts()),
        before.grounding,
        settings,
        demos=demos,
        lessons=replace(lessons, paid=what_paid(before, lessons.history)),
    )
    new = desk.propose(asker, before.instructions, rng)
    return replace(
        new,
        origins=_joined(before.origins, new.origins),
        refused=before.refused + new.refused,
        refusals=dict(Counter(before.refusals) + Counter(new.refusals)),
        num_calls=before.num_calls + new.num_calls,
        notes=(*before.notes, *new.notes),
    )


def _joined(
    old: tuple[tuple[Origin, ...], ...], new: tuple[tuple[Origin, ...], ...]
) -> tuple[tuple[Origin, ...], ...]:
    return tuple((*ours, *more) for ours, more in zip(old, new, strict=True))
