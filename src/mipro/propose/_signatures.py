"""Every prompt of the proposer, as signatures; short, so that small models cope too.

The golden files in `tests/propose/golden` show what a model is sent. Field names are
those that users of DSPy know from their logs. Instructions are no docstrings, which `python -OO` drops.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mipro.propose._tips import TIPS
from mipro.signature import InputField, OutputField, Signature

if TYPE_CHECKING:
    from collections.abc import Iterable


class DescribeData(Signature):
    __doc__ = """Look at the examples of a task and say what holds for most of them.

    Two or three short sentences: the topic, the form of the inputs, the form of the
    outputs, and how an output follows from its inputs. Do not repeat single examples.
    """

    examples: str = InputField(desc="some examples of the task")
    observations: str = OutputField(desc="two or three short sentences")


class MergeObservations(Signature):
    __doc__ = """Merge what several people observed about the same task into one summary."""

    observations: str = InputField(desc="what was observed")
    summary: str = OutputField(desc="two or three short sentences")


class DescribeProgram(Signature):
    __doc__ = "Read the source of a program that calls language models and say what task it solves, and how."

    program_code: str = InputField(desc="the source, and the calls it makes")
    program_example: str = InputField(desc="an example of what goes in and comes out")
    program_description: str = OutputField(desc="two or three short sentences")


class DescribeModule(Signature):
    __doc__ = """Say what one language-model call of a program is for."""

    program_description: str = InputField(desc="what the program does")
    program_code: str = InputField(desc="all calls the program makes")
    module: str = InputField(desc="the call to describe")
    module_description: str = OutputField(desc="one or two short sentences on the role of the call")


class ProposeInstruction(Signature):
    __doc__ = """Write an instruction for a language model that has to do the task described.

    The model will see the instruction and one new input, nothing else. Do not do the
    task yourself, and do not copy an example.
    """

    dataset_description: str = InputField(desc="what the data look like")
    program_description: str = InputField(desc="the program, and what the model does in it")
    basic_instruction: str = InputField(desc="the instruction so far")
    fixed_end: str = InputField(desc="what the model is told after it in any case; do not repeat it")
    previous_instructions: str = InputField(desc="instructions tried before with their scores, best last")
    failures: str = InputField(desc="what went wrong with the best instruction")
    task_demos: str = InputField(desc="examples of inputs with good outputs")
    must_contain: str = InputField(desc="text that the instruction must contain word for word")
    assignment: str = InputField(desc="what to write, and how")
    proposed_instruction: str = OutputField(desc="the new instruction")


def assignment(inputs: Iterable[str], outputs: Iterable[str], tip: str) -> str:
    """Return what the proposer is told to write, the tip at its end.

    Args:
        inputs: Names of the input fields of the predictor; it may have none.
        outputs: Names of its output fields.
        tip: A hint on the wording, or "".
    """
    given = _listed(inputs)
    way = f"from {given} to {_listed(outputs)}" if given else _listed(outputs)
    return f"Write a better instruction that tells a language model how to get {way}. {tip}".strip()


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


WORKED_PROPOSALS: tuple[dict[str, str], ...] = (
    {
        "dataset_description": "Reviews of products. The stars must be exactly one of: 1, 2, 3.",
        "basic_instruction": "Given the fields `review`, produce the fields `stars`.",
        "task_demos": "review: Broke after a day.\nstars: 1",
        "assignment": assignment(["review"], ["stars"], TIPS["simple"]),
        "proposed_instruction": "Read the review and rate how satisfied the customer is: answer with "
        "1, 2 or 3 stars and nothing else.",
    },
    {
        "dataset_description": "Recipes. The minutes is a whole number, without any other words.",
        "basic_instruction": "How long does it take?",
        "task_demos": "recipe: Boil the pasta for 10 minutes, then bake it for 15.\nminutes: 25",
        "assignment": assignment(["recipe"], ["minutes"], TIPS["steps"]),
        "proposed_instruction": "You are given a recipe. First find every step that takes time, such as "
        "cooking or waiting. Then add up these times. Answer with the total number of minutes only.",
    },
    {
        "dataset_description": "Headlines. The section must be exactly one of: sports, politics, culture.",
        "basic_instruction": "Given the fields `headline`, produce the fields `section`.",
        "task_demos": "headline: Striker leaves the club\nsection: sports",
        "assignment": assignment(["headline"], ["section"], TIPS["persona"]),
        "proposed_instruction": "You are an editor who sorts headlines. Decide which section a headline "
        "belongs to: sports, politics or culture. Answer with the name of the section only.",
    },
)
"""What good instructions look like, for tasks made up here. Without them a model of half
a billion parameters does the task instead of writing an instruction for it."""

WORKED_DESCRIPTIONS: tuple[dict[str, str], ...] = (
    {
        "examples": "review: Broke after a day.\nstars: 1\n\nreview: It does what it should.\nstars: 2\n\n"
        "review: Best thing I ever bought!\nstars: 3",
        "observations": "Customers say in a short sentence how they liked a product. The stars are a number "
        "from 1 to 3: the more satisfied the customer is, the more stars.",
    },
    {
        "examples": "recipe: Boil the pasta for 10 minutes, then bake it for 15.\nminutes: 25\n\n"
        "recipe: Mix all and let it rest for an hour.\nminutes: 60",
        "observations": "Recipes that say how long each step takes. The minutes are a whole number, "
        "the sum of the times in the recipe.",
    },
)
"""What good observations look like; a small model would go on with the examples instead."""


def worked_texts() -> list[str]:
    """Return the answers of the worked examples, which a model may not take over."""
    outputs = ("proposed_instruction", "observations")
    return [row[name] for row in (*WORKED_PROPOSALS, *WORKED_DESCRIPTIONS) for name in outputs if name in row]
