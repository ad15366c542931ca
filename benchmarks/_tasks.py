"""What is recorded: BIG-bench tasks with instructions of differing quality, and how demo sets are drawn."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mipro import Signature
from mipro.datasets import big_bench, split

if TYPE_CHECKING:
    from mipro import Example

SEED = 20
TRAIN = 24
"""Examples that demos are drawn from; none of them is measured."""
DEMO_SIZES = (0, 2, 4, 3, 6, 4, 5, 2)
"""Demos in each demo set; the first set belongs to the program as it came."""


@dataclass(frozen=True)
class Task:
    """A program for a task, and the instructions to try on it."""

    name: str
    """Name of the task in BIG-bench."""
    signature: str
    """Inputs and output of the program."""
    output: str
    """Name of the output field and of the label."""
    max_tokens: int
    """Enough to tell the labels apart; where any text may be answered, enough for the longest label."""
    instructions: tuple[str, ...]
    """Besides the signature's own one, which comes first."""
    labels: tuple[str, ...] = ()
    """What may be answered; any text if there are none."""

    @property
    def slug(self) -> str:
        """The name as part of a file name."""
        return self.name.replace("/", ".")


@dataclass(frozen=True)
class Plan:
    """All that decides a table but the model."""

    task: Task
    instructions: tuple[str, ...]
    demo_sets: tuple[tuple[int, ...], ...]
    """Indices of training examples."""
    train: tuple[Example, ...]
    examples: tuple[Example, ...]
    """What is measured, in an order of which every beginning has its share of each label."""


def plan(task: Task, *, seed: int = SEED, data: list[Example] | None = None) -> Plan:
    """Split the examples and draw the demo sets.

    Args:
        task: What to plan for.
        seed: Decides split and demo sets.
        data: Examples to use instead of the task's own.
    """
    found = big_bench(task.name) if data is None else data
    train, examples = split(found, (TRAIN, None), seed=seed, stratify=task.output)
    rng = random.Random(seed)
    demo_sets = tuple(tuple(rng.sample(range(TRAIN), size)) for size in DEMO_SIZES)
    instructions = (Signature(task.signature).instructions, *task.instructions)
    return Plan(task, instructions, demo_sets, tuple(train), tuple(examples))


_INTENT = Task(
    name="intent_recognition",
    signature="utterance -> intent",
    output="intent",
    max_tokens=8,
    instructions=(
        (
            "Classify the utterance. The intent is one of: add_to_playlist, book_restaurant, get_weather, "
            "play_music, rate_book, search_creative_work, search_screening_event."
        ),
        "What does the user want?",
        (
            "You route what people say to a voice assistant. Pick exactly one intent.\n"
            "- add_to_playlist: put a song or an artist on a playlist.\n"
            "- play_music: hear a song, an artist or a genre now.\n"
            "- rate_book: give a book points or stars.\n"
            "- book_restaurant: get a table or a place to eat.\n"
            "- get_weather: know the weather or the temperature.\n"
            "- search_screening_event: know when or where a film is shown.\n"
            "- search_creative_work: find a book, a show, a game or a song by its title."
        ),
        "Name the intent in snake_case: a verb, then its object.",
        "Repeat the most important word of the utterance.",
        (
            "Decide whether the speaker wants to hear music, fill a playlist, rate a book, eat out, know the "
            "weather, go to the cinema or find a work by its title, and write the name of that intent."
        ),
        (
            "Write search_screening_event where a film is asked for, search_creative_work for any other "
            "work, else rate_book, play_music, get_weather, book_restaurant or add_to_playlist."
        ),
    ),
)

_SPORTS = Task(
    name="sports_understanding",
    signature="question -> answer: Literal['plausible', 'implausible']",
    output="answer",
    labels=("plausible", "implausible"),
    max_tokens=1,
    instructions=(
        "Say whether the sentence about sports is plausible or implausible.",
        "Is it true?",
        (
            "Each sentence says that an athlete did something. Think of the sport that the athlete plays and "
            "of the sport that the action belongs to. Where the two are the same sport the answer is "
            "`plausible`, where they are not it is `implausible`. Write nothing but that one word."
        ),
        "Answer implausible, unless you are sure that this athlete does this in their sport: then plausible.",
        "Name the sport that the sentence speaks of.",
        "plausible or implausible?",
        (
            "You are a sports reporter who checks the sentences of a colleague. Most of them are plausible; "
            "an implausible one has an athlete do what only athletes of another sport do."
        ),
    ),
)

_ENTAILED = Task(
    name="entailed_polarity",
    signature="question -> answer: Literal['yes', 'no']",
    output="answer",
    labels=("yes", "no"),
    max_tokens=1,
    instructions=(
        "Answer the question by the fact before it, with yes or no.",
        "Yes or no?",
        (
            "The fact tells what somebody did, let happen, forgot, refused or failed to do. Find out whether "
            "the event after Q: took place. Verbs such as manage, remember, allow or get say that it did; "
            "verbs such as fail, forget, refuse or prevent say that it did not; a `not` turns either around."
        ),
        "Answer no, unless the fact says outright that the event took place.",
        "Tell whether the question is a polite one.",
        "Did it happen? Answer yes if it did and no if it did not.",
        "Read the fact twice. Then answer yes.",
    ),
)

TASKS = {task.name: task for task in (_ENTAILED, _INTENT, _SPORTS)}
"""Tasks by name, in the order in which they are recorded."""
