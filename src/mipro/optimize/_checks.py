"""What every optimizer refuses before anything is spent."""

from __future__ import annotations

import difflib
import inspect
import math
from collections.abc import Mapping
from numbers import Real
from typing import TYPE_CHECKING, Any

from mipro._names import of_dspy
from mipro._normal import as_spelled
from mipro._takes import takes
from mipro._whole import is_whole
from mipro.errors import UserError
from mipro.example import or_of_table
from mipro.lm import BaseLM
from mipro.modules import ChainOfThought, Module, Predict
from mipro.modules._module import check_module
from mipro.optimize._traces import check_same_structure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mipro.example import Example


def check_program(name: str, program: Any) -> None:
    """Refuse what is no program, and one whose predictors can't be asked for.

    Args:
        name: How it is called.
        program: What was given.
    """
    check_module(name, program)
    if not callable(program.predictors):
        raise UserError(
            f"the `predictors` of `{name}` must be those that a `mipro.Module` finds, but "
            f"{type(program).__name__} has an attribute of that name; give it another one."
        )


def num_predictors(program: Module) -> int:
    """Return how many predictors a program holds.

    Raises:
        UserError: It holds none.
    """
    found = len(program.predictors())
    if not found:
        others = next(filter(None, map(of_dspy, vars(program).values())), "")
        raise UserError(
            "the program must hold at least one predictor (`Predict`, `ChainOfThought`, ...), but "
            f"{type(program).__name__} holds "
            + (f"{others}." if others else "none; assign them to attributes in `__init__`.")
        )
    return found


def listed(name: str, examples: Any, *, least: int = 0) -> list[Example]:
    """Return a data set as a list.

    Raises:
        UserError: It is none, or has fewer than `least` examples.
    """
    try:
        rows = list(examples)
    except TypeError as error:
        raise UserError(f"`{name}` must be a list of examples, but got {examples!r}.") from error
    if len(rows) < least:
        raise UserError(f"`{name}` must hold at least {least} example, but got {len(rows)}.")
    return rows


def check_settings(teacher_settings: Any) -> None:
    """Refuse what no settings can be; None passes."""
    if teacher_settings is not None and not isinstance(teacher_settings, Mapping):
        raise UserError(
            "`teacher_settings` must be a dict of settings, such as dict(lm=mipro.LM(...)), but got "
            f"{teacher_settings!r}."
        )


def check_examples(**sets: Sequence[Example]) -> None:
    """Refuse examples that do not say which of their fields are inputs, or name some that they have not."""
    for name, examples in sets.items():
        for index, example in enumerate(examples):
            keys = getattr(example, "_input_keys", None)
            if keys is None:
                raise UserError(
                    f"every example of `{name}` must be a `mipro.Example` that names its inputs, but example "
                    f"{index} does not: {example!r}; use {_made_of(example)}."
                )
            missing = sorted(key for key in keys if key not in example)
            if missing:
                near = difflib.get_close_matches(missing[0], list(example), n=1, cutoff=0.0)
                raise UserError(
                    f"every example of `{name}` must have the inputs that it names, but example {index} "
                    f"names {missing} and has the fields {list(example)}; "
                    + (f"pass {near[0]!r} to `with_inputs`." if near else "give it fields.")
                )


def _made_of(example: Any) -> str:
    if hasattr(example, "with_inputs"):
        return "`example.with_inputs(...)`"
    if isinstance(example, Mapping):
        return (
            "`mipro.Example(row).with_inputs(...)`, or `mipro.datasets.from_records(rows, input_keys=[...])`"
        )
    return "`mipro.Example(name=value, ...).with_inputs(...)`" + or_of_table(example)


def check_is_given(program: Module, **sets: Sequence[Example]) -> None:
    """Refuse a program that no example of a data set can call, and a predictor that none gives anything.

    A call of a predictor only warns of it, as of one input that is missing, and a whole run would be paid for
    empty questions. A program of the user's own may make inputs of others.
    """
    if type(program) not in {Predict, ChainOfThought}:
        _check_takes(program, sets)
        return
    asked = set(program.predictors()[0].signature.input_fields)
    for name, examples in sets.items():
        # Ends mostly at the first example, of however many.
        if any(as_spelled(field, asked) in asked for example in examples for field in example.inputs()):
            continue
        given = sorted({field for example in examples for field in example.inputs()})
        if asked and given:
            raise UserError(
                f"`{name}` must have inputs that the program asks for, which are {sorted(asked)}, but its "
                f"examples have {given}; give both the same names."
            )


def _check_takes(program: Module, sets: Mapping[str, Sequence[Example]]) -> None:
    if type(program).__call__ is not Module.__call__:  # one of its own, which may call `forward` as it likes
        return
    for name, examples in sets.items():
        if examples and not any(takes(program.forward, 0, *example.inputs()) for example in examples):
            taken = list(inspect.signature(program.forward, follow_wrapped=False).parameters)
            raise UserError(
                f"the program must take the inputs of the examples by name, but `forward` of "
                f"{type(program).__name__} takes {taken}, and the first example of `{name}` has "
                f"{list(examples[0].inputs())}; give both the same names, and name in "
                "`with_inputs(...)` what the program takes and nothing else."
            )


def check_positive(**values: Any) -> None:
    """Refuse what is not a whole number of at least 1; None passes."""
    check_whole(1, **{name: value for name, value in values.items() if value is not None})


def check_not_negative(**values: Any) -> None:
    """Refuse what is not a whole number of at least 0; None passes."""
    check_whole(0, **{name: value for name, value in values.items() if value is not None})


def check_whole(least: int, **values: Any) -> None:
    """Refuse what is not a whole number of at least `least`."""
    for name, value in values.items():
        if not is_whole(value, least):
            raise UserError(f"`{name}` must be a whole number of at least {least}, but got {value!r}.")


def check_temperature(init_temperature: Any) -> None:
    """Refuse what no model can sample at."""
    is_number = isinstance(init_temperature, (int, float)) and not isinstance(init_temperature, bool)
    if not is_number or not 0 <= init_temperature < math.inf:
        raise UserError(
            f"`init_temperature` must be a finite number of at least 0, but got {init_temperature!r}."
        )


def check_threshold(**values: Any) -> None:
    """Refuse what no score can be compared with; None passes."""
    for name, value in values.items():
        if value is not None and (not isinstance(value, Real) or math.isnan(value)):
            raise UserError(
                f"`{name}` must be a number that scores are compared with, or None, but got {value!r}."
            )


def check_is_lm(name: str, model: Any) -> None:
    """Refuse what is no language model; None passes.

    Args:
        name: Where the user gave it.
        model: What was given.
    """
    if model is not None and not isinstance(model, BaseLM):
        name_of_one = model if isinstance(model, str) else "openai/gpt-4o-mini"
        todo = f"; pass mipro.LM({name_of_one!r})" if isinstance(model, (str, type)) else ""
        raise UserError(f"`{name}` must be a `mipro.LM`, but got {of_dspy(model) or repr(model) + todo}.")


def own_models(name: str, program: Module) -> list[BaseLM]:
    """Return the models that predictors bring, also those in modules that were optimized before.

    Args:
        name: How the program is called.
        program: The program.

    Raises:
        UserError: One is no language model.
    """
    models = []
    for path, predictor in program.named_sub_modules(Predict):
        check_is_lm(f"{path.replace('self', name, 1)}.lm", predictor.lm)
        models += [] if predictor.lm is None else [predictor.lm]
    return models


def models_of_teacher(teacher: Module | None, teacher_settings: Mapping[str, Any]) -> list[BaseLM]:
    """Return the models that a teacher asks beside those of the student.

    Raises:
        UserError: One is no language model.
    """
    given = teacher_settings.get("lm")
    check_is_lm("teacher_settings['lm']", given)
    own = [] if teacher is None else own_models("teacher", teacher)
    return own if given is None else [given, *own]


def check_teacher(student: Module, teacher: Module | None, teacher_settings: Mapping[str, Any]) -> None:
    """Check that a teacher can be run and that there is a student that can take over what it shows.

    Raises:
        UserError: One is no program, their predictors differ, or what is given as a model is none.
        LMAuthError: A model's key is missing.
    """
    check_program("student", student)
    if teacher is not None:
        check_program("teacher", teacher)
        check_same_structure(student, teacher)
    for model in models_of_teacher(teacher, teacher_settings):
        model.check()
