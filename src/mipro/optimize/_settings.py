"""What a `compile` of MIPROv2 was asked to do, checked and complete."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

from mipro._canonical import distinct
from mipro._takes import takes
from mipro.context import settings
from mipro.errors import NoModelError, UserError
from mipro.lm import Usage
from mipro.lm._base import misnamed_model
from mipro.optimize._checks import (
    check_examples,
    check_is_lm,
    check_positive,
    check_whole,
    models_of_teacher,
    own_models,
)
from mipro.optimize._data import without_shared
from mipro.optimize._own_search import check_methods
from mipro.runs import Budget
from mipro.search import Space, default_budget, default_lookahead, default_num_trials

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mipro.example import Example
    from mipro.lm import BaseLM
    from mipro.modules import Module

AutoMode = Literal["light", "medium", "heavy"]


@dataclass(frozen=True, slots=True)
class Preset:
    """Size of a run that `auto` names."""

    num_candidates: int
    val_size: int
    """Validation examples used at most."""


PRESETS: Mapping[str, Preset] = MappingProxyType(
    # dspy.MIPROv2's AUTO_RUN_SETTINGS.
    {"light": Preset(6, 100), "medium": Preset(12, 300), "heavy": Preset(18, 1000)}
)
SEARCHES = ("bayes", "tpe", "random", "halving")
_OF_SEARCH = ("num_examples", "budget", "seed", "lookahead", "order")
"""What a function that makes a search is given by name, after the space."""
MIN_MINIBATCH_VALSET = 50
"""With `auto`, a valset of at most this many examples is always evaluated whole (dspy.MIPROv2)."""
DEFAULT_MINIBATCH_SIZE = 35
"""dspy.MIPROv2's; section 5 of the paper uses minibatches of the same order."""
ROUND_EVALUATIONS = 500
"""Evaluations of a search from which a round of learning is held by default."""
ROUNDS = "rounds"
"""Name of the stage that pays for rounds of learning."""
PROBED = 10
"""Training examples that the leader is run on in a round, to see its mistakes."""
NEW_SHARE, LEAST_NEW = 4, 2
"""A round adds a choice for every so many that there were, and at least so many."""
MAX_SPLIT_VALSET = 1000
VALSET_SHARE = 0.8
"""Part of the trainset that becomes the valset where none is given (dspy.MIPROv2)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A complete, checked description of one run's size and data."""

    trainset: tuple[Example, ...]
    valset: tuple[Example, ...]
    testset: tuple[Example, ...]
    demo_pool: tuple[Example, ...]
    """The trainset, each example once, without inputs that the valset or the testset has too: what
    demos are made of, and what a candidate is run on to see its mistakes."""
    num_instructions: int
    """Instructions per predictor, the original included."""
    num_demo_sets: int
    """Demo sets per predictor, the original one included; 1 where demos are not optimised."""
    num_trials: int
    minibatch: bool
    minibatch_size: int
    minibatch_full_eval_steps: int
    max_bootstrapped_demos: int
    max_labeled_demos: int
    seed: int
    propose_rounds: int
    """Rounds of learning during the search."""
    lookahead: int = 1
    """Decisions of the search under way at once."""

    @property
    def zero_shot(self) -> bool:
        """Whether only instructions are optimised."""
        return self.max_bootstrapped_demos == 0 and self.max_labeled_demos == 0

    @property
    def evaluations(self) -> int:
        """Most evaluations (candidate x example) of the search: what dspy.MIPROv2 spends."""
        return default_budget(
            len(self.valset),
            self.num_trials,
            minibatch=self.minibatch,
            minibatch_size=self.minibatch_size,
            minibatch_full_eval_steps=self.minibatch_full_eval_steps,
        )

    def stream(self, name: str) -> Random:
        """Return the random stream of one stage; see `stream`."""
        return stream(self.seed, name)


def stream(seed: int, name: str) -> Random:
    """Return a named random stream; what one draws never depends on how far another has come."""
    return Random(f"{seed}:{name}")  # noqa: S311 - sampling, not secrets


@dataclass(frozen=True, slots=True)
class Sizes:
    """The arguments of a `compile` that set its size, as they were given."""

    auto: AutoMode | None
    num_candidates: int | None
    num_trials: int | None
    max_bootstrapped_demos: int
    max_labeled_demos: int
    seed: int
    minibatch: bool = True
    minibatch_size: int | None = None
    minibatch_full_eval_steps: int = 5
    propose_rounds: int = 0


def make_plan(
    sizes: Sizes,
    num_predictors: int,
    *,
    trainset: Sequence[Example],
    valset: Sequence[Example] | None,
    testset: Sequence[Example] | None,
) -> Plan:
    """Check the arguments and complete them.

    Raises:
        UserError: They make no sense; the message says what to do.
    """
    _check_sizes(sizes)
    check_examples(trainset=trainset, valset=valset or (), testset=testset or ())
    preset = PRESETS[sizes.auto or "light"]
    by_user = sizes.num_candidates is not None or sizes.num_trials is not None
    train, val = split_data(
        trainset, valset, val_size=None if by_user else preset.val_size, rng=stream(sizes.seed, "split")
    )
    candidates = sizes.num_candidates or preset.num_candidates
    zero_shot = sizes.max_bootstrapped_demos == 0 and sizes.max_labeled_demos == 0
    variables = Space({str(v): candidates for v in range(num_predictors * (1 if zero_shot else 2))})
    batch = sizes.minibatch_size or min(DEFAULT_MINIBATCH_SIZE, len(val))
    # With `auto` a small valset is evaluated whole, whatever the size of a minibatch (dspy.MIPROv2).
    minibatch = sizes.minibatch and (by_user or len(val) > MIN_MINIBATCH_VALSET)
    if minibatch and batch > len(val):
        raise UserError(
            f"`minibatch_size` must be at most the size of the valset, but got {batch} > {len(val)}; "
            f"pass minibatch_size={len(val)} or more data."
        )
    return Plan(
        trainset=train,
        valset=val,
        testset=tuple(testset or ()),
        demo_pool=tuple(distinct(without_shared(train, val, testset or ()))),
        # With demos in play, half the proposals: the budget is better spent on demos (dspy.MIPROv2).
        num_instructions=candidates if zero_shot or by_user else candidates // 2,
        num_demo_sets=1 if zero_shot else candidates,
        num_trials=sizes.num_trials or default_num_trials(variables),
        minibatch=minibatch and batch < len(val),
        minibatch_size=batch,
        minibatch_full_eval_steps=sizes.minibatch_full_eval_steps,
        max_bootstrapped_demos=sizes.max_bootstrapped_demos,
        max_labeled_demos=sizes.max_labeled_demos,
        seed=sizes.seed,
        propose_rounds=sizes.propose_rounds,
    )


def default_rounds(search: object, plan: Plan) -> int:
    """Return how many rounds of learning suit a search where the user does not say."""
    is_worth_it = plan.evaluations >= ROUND_EVALUATIONS and plan.num_instructions > 1
    return 1 if search == "bayes" and is_worth_it else 0


def lookahead_of(search: object, plan: Plan, budget: Budget, predictors: int) -> int:
    """Return how many decisions of a search should be under way where the user does not say.

    Args:
        search: As given to MIPROv2.
        plan: Its size.
        budget: May not last for as many evaluations as are planned.
        predictors: Calls of one evaluation.
    """
    affordable = plan.evaluations if budget.lm_calls is None else budget.lm_calls // predictors
    sizes = (plan.num_instructions, plan.num_demo_sets)
    return default_lookahead(min(plan.evaluations, affordable), sizes) if search == "bayes" else 1


def new_choices(count: int) -> int:
    """Return how many choices a round of learning adds to `count`."""
    return max(LEAST_NEW, count // NEW_SHARE)


def _check_sizes(sizes: Sizes) -> None:
    check_auto(sizes.auto, num_candidates=sizes.num_candidates, num_trials=sizes.num_trials)
    check_whole(
        0, max_bootstrapped_demos=sizes.max_bootstrapped_demos, max_labeled_demos=sizes.max_labeled_demos
    )
    check_whole(1, minibatch_full_eval_steps=sizes.minibatch_full_eval_steps)
    check_positive(
        num_candidates=sizes.num_candidates,
        num_trials=sizes.num_trials,
        minibatch_size=sizes.minibatch_size,
    )


def split_data(
    trainset: Sequence[Example], valset: Sequence[Example] | None, *, val_size: int | None, rng: Random
) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """Return the examples to learn from and those to measure on.

    Without a valset the larger part of the trainset is set aside as one, drawn at random
    so that a sorted file does no harm.

    Raises:
        UserError: There are too few examples.
    """
    train = list(trainset)
    if not train:
        raise UserError("`trainset` must hold at least 1 example, but it is empty.")
    if valset is None:
        if len(train) < 2:  # noqa: PLR2004 - one to learn from, one to measure on
            raise UserError(
                "`trainset` must hold at least 2 examples where no `valset` is given, but got 1; "
                "pass more data or a valset."
            )
        rng.shuffle(train)
        size = min(MAX_SPLIT_VALSET, max(1, int(VALSET_SHARE * len(train))))
        train, val = train[:-size], train[-size:]
    else:
        val = list(valset)
        if not val:
            raise UserError(
                "`valset` must hold at least 1 example, but it is empty; leave it out to split one off."
            )
    if val_size is not None and len(val) > val_size:
        val = rng.sample(val, val_size)
    return tuple(train), tuple(val)


def check_names(**values: Any) -> None:
    """Refuse what is not a list of texts that are not empty."""
    for name, value in values.items():
        listed = isinstance(value, Sequence) and not isinstance(value, str)
        if not listed or not all(isinstance(text, str) and text for text in value):
            raise UserError(f"`{name}` must be a list of texts, none of them empty, but got {value!r}.")


def check_run(budget: Any, callbacks: Any) -> None:
    """Refuse what is no budget and what can't be told of the progress."""
    if budget is not None and not isinstance(budget, Budget):
        raise UserError(
            f"`budget` must be a `mipro.Budget`, such as Budget(lm_calls=500), but got {budget!r}."
        )
    if not isinstance(callbacks, Sequence) or not all(map(callable, callbacks)):
        raise UserError(f"`callbacks` must be a list of functions of one `Progress`, but got {callbacks!r}.")


def check_kept(program: Module, keep: Sequence[str]) -> None:
    """Refuse parts to keep that no instruction of the program has."""
    instructions = [predictor.signature.instructions for predictor in program.predictors()]
    for part in keep:
        if not any(part in text for text in instructions):
            raise UserError(
                f"every part of `keep` must stand in an instruction of the program, word for word, but "
                f"{part!r} is in none of {instructions}."
            )


def places_of(program: Module, frozen: Sequence[str]) -> frozenset[int]:
    """Return the places of the predictors called `frozen` among all predictors.

    Raises:
        UserError: There is no such predictor, or none would be left to optimize.
    """
    names = [name for name, _ in program.named_predictors()]
    unknown = [name for name in frozen if name not in names]
    if unknown:
        raise UserError(f"`frozen` must name predictors of the program, {names}, but got {unknown}.")
    if len(set(frozen)) == len(names):
        raise UserError(
            f"at least one predictor must be left to optimize, but all of {names} are in `frozen`."
        )
    return frozenset(names.index(name) for name in frozen)


def check_search(search: Any) -> None:
    """Refuse what is neither the name of a search nor a function that makes one."""
    if not (search in SEARCHES if isinstance(search, str) else callable(search)):
        raise UserError(
            f"`search` must be one of {[*SEARCHES]} or a function that makes a `mipro.search.Search`, "
            f"but got {search!r}."
        )
    if isinstance(search, type):
        check_methods(search)
    if not isinstance(search, str) and not takes(search, 1, *_OF_SEARCH):
        given = ", ".join(f"{name}=" for name in _OF_SEARCH)
        raise UserError(
            f"`search` must be a function that can be called as (space, {given}), but {search!r} can't be; "
            "let it take what it does not need as **options."
        )


def check_auto(auto: str | None, **sizes: int | None) -> None:
    """Refuse an unknown preset, and a preset together with the sizes it would set.

    Args:
        auto: The preset as given, None where none was.
        sizes: `num_candidates` and `num_trials` as given.
    """
    if auto is None:
        return
    if auto not in PRESETS:
        raise UserError(f"`auto` must be one of {[*PRESETS]} or None, but got {auto!r}.")
    given = {name: value for name, value in sizes.items() if value is not None}
    if given:
        raise UserError(
            f"`auto` must be left out where {' and '.join(f'`{name}`' for name in given)} is given, since it "
            f"would set the same thing, but got auto={auto!r} and {given}; pass one or the other."
        )


def resolve_models(
    program: Module,
    prompt_model: BaseLM | None,
    task_model: BaseLM | None,
    budget: Budget,
    *,
    teacher: Module | None = None,
    teacher_settings: Mapping[str, Any] = MappingProxyType({}),
) -> tuple[BaseLM, BaseLM | None]:
    """Return the model that writes instructions and the one that runs the program.

    The task model is None where every predictor brings its own.

    Raises:
        UserError: A model is missing (`NoModelError`), is not an LM, or has no known price where the budget
            limits the cost.
        LMAuthError: A model's key is missing.
    """
    for name, model in (("prompt_model", prompt_model), ("task_model", task_model), ("lm", settings.lm)):
        check_is_lm(name, model)
    own, teachers = own_models("program", program), models_of_teacher(teacher, teacher_settings)
    task = task_model or settings.lm
    brought: list[Any] = [predictor.lm for predictor in program.predictors()]
    if task is None and None in brought:
        raise NoModelError(
            "a language model must be set, but none is; call mipro.configure(lm=mipro.LM(...)) "
            f"or pass `task_model`.{misnamed_model()}"
        )
    prompt: BaseLM = prompt_model or settings.lm or task_model or brought[0]
    for model in {
        id(model): model for model in (prompt, task, *own, *teachers) if model is not None
    }.values():
        model.check()
        if budget.cost_usd is not None and model.price_usd(Usage(1, 1)) is None:
            raise UserError(
                f"the price of every model must be known where `Budget.cost_usd` is set, but that of "
                f"{model.model!r} is not; pass LM(..., prices={{'input': ..., 'output': ...}}) in US dollars "
                "for a million tokens."
            )
    return prompt, task
