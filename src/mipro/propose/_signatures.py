"""Every prompt of the proposer, as signatures; short, so that small models cope too.

The golden files in `tests/propose/golden` show what a model is sent. Field names are
those that users of DSPy know from their logs.
"""

from __future__ import annotations

from mipro.signature import InputField, OutputField, Signature


class DescribeData(Signature):
    """Look at the examples of a task and say what holds for most of them.

    Two or three short sentences: the topic, the form of the inputs, the form of the
    outputs, and how an output follows from its inputs. Do not repeat single examples.
    """

    examples: str = InputField(desc="some examples of the task")
    observations: str = OutputField(desc="two or three short sentences")


class MergeObservations(Signature):
    """Merge what several people observed about the same task into one summary."""

    observations: str = InputField(desc="what was observed")
    summary: str = OutputField(desc="two or three short sentences")


class DescribeProgram(Signature):
    """Read the source of a program that calls language models and say what task it solves, and how."""

    program_code: str = InputField(desc="the source, and the calls it makes")
    program_example: str = InputField(desc="an example of what goes in and comes out")
    program_description: str = OutputField(desc="two or three short sentences")


class DescribeModule(Signature):
    """Say what one language-model call of a program is for."""

    program_description: str = InputField(desc="what the program does")
    program_code: str = InputField(desc="all calls the program makes")
    module: str = InputField(desc="the call to describe")
    module_description: str = OutputField(desc="one or two short sentences on the role of the call")


class ProposeInstruction(Signature):
    """Write a better instruction for a language model that has to do the task described below.

    The model will see your instruction and one new input at a time, nothing else.
    Say what the task is and what the answer must look like.
    Speak to the model. Do not solve an example and do not copy one.
    """

    dataset_description: str = InputField(desc="what the data look like")
    program_description: str = InputField(desc="the program that the model is a part of")
    module: str = InputField(desc="inputs and outputs of the model")
    module_description: str = InputField(desc="the role of the model in the program")
    task_demos: str = InputField(desc="examples of inputs with good outputs")
    previous_instructions: str = InputField(desc="instructions tried before with their scores, best last")
    failures: str = InputField(desc="what went wrong with the best instruction so far")
    basic_instruction: str = InputField(desc="the instruction to improve")
    must_contain: str = InputField(desc="text that the new instruction must contain word for word")
    tip: str = InputField(desc="how to write it")
    proposed_instruction: str = OutputField(desc="the new instruction, nothing else")
