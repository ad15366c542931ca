"""Where proposals are asked for, judged, and asked for again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mipro.propose._ask import Answer, Asker, Question
from mipro.propose._bandit import draw_recipes
from mipro.propose._facts import typed_values
from mipro.propose._guards import Guard
from mipro.propose._program import fixed_tails
from mipro.propose._records import ORIGINAL, Lessons, Origin, Proposals, ProposalSettings
from mipro.propose._signatures import WORKED_PROPOSALS, ProposeInstruction, assignment
from mipro.propose._text import clip, has_word, show_examples, show_value, token_estimate
from mipro.propose._tips import TIPS, next_tip
from mipro.signature import extra_of

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from mipro.errors import LMRequestError
    from mipro.example import Example
    from mipro.modules import Module
    from mipro.propose._grounding import Grounding
    from mipro.propose._leaks import Corpus

# Demos shown with each proposal; the number of DSPy and of the paper.
_DEMOS_SHOWN = 3
_DEMO_TOKENS = 450
_INSTRUCTION_TOKENS = 1000
_HISTORY_SHOWN = 5
_MISTAKES_SHOWN = 3
_MISTAKE_TOKENS = 60
# Asked, asked again, asked with the next tip.
_MAX_ASKS = 3
_COOLING = 0.7
# Parts of a prompt that hold training examples.
_EXAMPLES = ("traces", "failures")
# A closed set of labels is stated in all first proposals but every so many.
_WITHOUT_LABELS = 4
FIRST_ROUND = Lessons()


@dataclass(slots=True)
class _Slot:
    """A place for one instruction, filled when an answer passes the guard."""

    predictor: int
    tip: str
    left_out: tuple[str, ...]
    """What is not shown for it."""
    labels: bool
    """Whether the closed set of labels is stated in it."""
    rollouts: tuple[int, ...]
    """One draw for each time that it is asked for."""
    demos: tuple[Example, ...]
    cooling: float = 1.0
    """Factor on the temperature: a model that wrote nonsense is asked again more soberly."""
    lean: bool = False
    """Whether to leave out all that is long, the data among it: the model's context was too small for it,
    or the server refuses it."""
    text: str | None = None


class Desk:
    """Fills the places for instructions with what the prompt model proposes.

    Args:
        program: Program to propose for; not modified.
        corpus: The training examples, which must not be given away.
        grounding: What is known of data and program.
        how: Settings.
        demos: For each predictor good demos to show.
        lessons: What the search has learned.
    """

    def __init__(
        self,
        program: Module,
        corpus: Corpus,
        grounding: Grounding,
        how: ProposalSettings,
        *,
        demos: Sequence[Sequence[Example]],
        lessons: Lessons = FIRST_ROUND,
    ) -> None:
        self._predictors = program.predictors()
        self._names = [name for name, _ in program.named_predictors()]
        self._grounding = grounding
        self._how = how
        self._demos = demos
        self._lessons = lessons
        self._tails = fixed_tails(program)
        # What stands in the fixed end of an instruction stays anyway.
        self._kept = [
            [part for part in how.keep if part in self._own_part(predictor.signature.instructions, p)]
            for p, predictor in enumerate(self._predictors)
        ]
        self._guards = [self._guard(p, corpus) for p in range(len(self._predictors))]
        self._refusals: Counter[str] = Counter()

    def propose(self, asker: Asker, taken: Sequence[Sequence[str]], rng: random.Random) -> Proposals:
        """Return the instructions in `taken` with new ones after them, `how.count` in all.

        Args:
            asker: Asks the prompt model.
            taken: For each predictor the instructions that are there already.
            rng: Source of tips and draws; advanced in place.

        Raises:
            LMRequestError: The server refused every request of the first round.
        """
        heard = [[self._proposed_part(text, p) for text in texts] for p, texts in enumerate(taken)]
        slots = [slot for p, texts in enumerate(taken) for slot in self._slots(p, len(texts), rng)]
        errors: list[LMRequestError | None] = []
        for number in range(_MAX_ASKS):
            waiting = [slot for slot in slots if slot.text is None]
            answers = asker.ask([self._question(slot, number) for slot in waiting]) if waiting else []
            errors += [answer.error for answer in answers]
            for slot, answer in zip(waiting, answers, strict=True):
                self._judge(slot, answer, heard[slot.predictor], number)
        refused = [error for error in errors if error is not None]
        if refused and len(refused) == len(errors) and not self._lessons.round:
            # A parameter that the model does not take, say: nothing is gained by going on.
            raise refused[0]
        instructions = [list(texts) for texts in taken]
        origins: list[list[Origin]] = [[] for _ in taken]
        for p, texts in enumerate(instructions):
            if self._states_labels_for_free(p, len(texts)):
                texts.append(self._with_labels(texts[0], p, self._grounding.label_sentence(p)))
                origins[p].append(Origin(ORIGINAL, labels=True, round=self._lessons.round))
        for slot in slots:
            text, origin = self._finished(slot, instructions[slot.predictor])
            if text:
                instructions[slot.predictor].append(text)
                origins[slot.predictor].append(origin)
        return Proposals(
            instructions=tuple(map(tuple, instructions)),
            origins=tuple(map(tuple, origins)),
            refused=sum(self._refusals.values()),
            refusals=dict(self._refusals),
            num_calls=asker.num_calls,
            grounding=self._grounding,
            notes=tuple(self._notes(instructions)),
        )

    def _own_part(self, text: str, p: int) -> str:
        """Return an instruction of predictor `p` without the part that is fixed."""
        tail = self._tails[p]
        if not tail or tail not in text:
            return text
        before, _, after = text.partition(tail)  # the labels may be stated after it
        return "\n".join(part for part in (before.rstrip(), after.strip()) if part)

    def _proposed_part(self, text: str, p: int) -> str:
        """Return what a model wrote of an instruction, without fixed end and labels stated after it."""
        text = self._own_part(text.removesuffix(self._grounding.label_sentence(p)).rstrip(), p)
        return text or self._own_part(self._predictors[p].signature.instructions, p)

    def _guard(self, p: int, corpus: Corpus) -> Guard:
        signature = self._predictors[p].signature
        fields = [f"{name} {extra_of(field)['desc']}" for name, field in signature.fields.items()]
        values = [v for field in signature.output_fields.values() for v in typed_values(field.annotation)]
        return Guard(
            signature.instructions,
            corpus,
            public=[
                *fields,
                *values,
                self._grounding.label_sentence(p),
                *(assignment(signature.input_fields, signature.output_fields, tip) for tip in TIPS.values()),
            ],
            keep=self._kept[p],
            max_tokens=self._how.max_instruction_tokens,
        )

    def _slots(self, p: int, num_taken: int, rng: random.Random) -> list[_Slot]:
        if p in self._how.frozen:
            return []
        count = max(self._how.count - num_taken - self._states_labels_for_free(p, num_taken), 0)
        stated = bool(self._grounding.label_sentence(p))
        recipes = draw_recipes(count, self._lessons.paid, rng, use_tips=self._how.tip_aware)
        return [
            _Slot(
                predictor=p,
                tip=recipe.tip,
                left_out=recipe.left_out,
                labels=stated and ((i + 1) % _WITHOUT_LABELS > 0 if recipe.labels is None else recipe.labels),
                rollouts=tuple(rng.getrandbits(30) for _ in range(_MAX_ASKS)),
                demos=self._some_demos(p, i),
            )
            for i, recipe in enumerate(recipes)
        ]

    def _states_labels_for_free(self, p: int, num_taken: int) -> bool:
        """Whether the original with the labels is a proposal: in the first round, if there is room."""
        if p in self._how.frozen:
            return False
        original = self._predictors[p].signature.instructions
        sentence = self._grounding.label_sentence(p)
        has_room = self._how.count > 2  # noqa: PLR2004 - beside the original and one proposal
        return num_taken == 1 and has_room and self._with_labels(original, p, sentence) != original

    def _some_demos(self, p: int, i: int) -> tuple[Example, ...]:
        """Return the demos that proposal `i` is shown: other ones each time, as far as they go."""
        demos = list(self._demos[p]) if self._how.fewshot_aware else []
        size = min(_DEMOS_SHOWN, len(demos))
        return tuple(demos[(i * size + k) % len(demos)] for k in range(size))

    def _question(self, slot: _Slot, number: int) -> Question:
        p = slot.predictor
        signature = self._predictors[p].signature
        fields = list(signature.fields)
        own = self._own_part(signature.instructions, p)
        inputs = {
            # Whole: what is not seen of it would be lost in what is proposed.
            "basic_instruction": clip(own, _INSTRUCTION_TOKENS) if slot.lean else own,
            "must_contain": "\n".join(self._kept[p]),
            "assignment": assignment(signature.input_fields, signature.output_fields, TIPS[slot.tip]),
        }
        if not slot.lean:
            shown = {
                "summary": ("dataset_description", self._grounding.data_description(p)),
                "program": ("program_description", self._grounding.program_text(p)),
                "history": ("previous_instructions", self._shown_history(p)),
                "failures": ("failures", self._shown_mistakes()),
                "traces": ("task_demos", show_examples(slot.demos, fields, _DEMO_TOKENS)),
            }
            inputs |= {name: text for part, (name, text) in shown.items() if part not in slot.left_out}
            inputs["fixed_end"] = clip(self._tails[p], _INSTRUCTION_TOKENS)
        return Question(
            ProposeInstruction,
            {name: text for name, text in inputs.items() if text},
            worked=WORKED_PROPOSALS,
            rollout_id=slot.rollouts[number],
            temperature=self._how.init_temperature * slot.cooling,
        )

    def _shown_history(self, p: int) -> str:
        best = sorted(
            (tried for tried in self._lessons.history if tried.predictor == p), key=lambda tried: tried.score
        )
        shown = [(tried.score, self._own_part(tried.instruction, p)) for tried in best[-_HISTORY_SHOWN:]]
        return "\n".join(
            f"{score:.3g}: {show_value(text, _INSTRUCTION_TOKENS // _HISTORY_SHOWN)}" for score, text in shown
        )

    def _shown_mistakes(self) -> str:
        shown = []
        for mistake in self._lessons.mistakes[:_MISTAKES_SHOWN]:
            lines = [show_examples([mistake.example.inputs()], list(mistake.example), _MISTAKE_TOKENS)]
            answer = mistake.answer
            if isinstance(answer, Mapping):
                asked = mistake.example.inputs()
                told = [(name, value) for name, value in answer.items() if name not in asked]
                # What can be compared comes first, lest long reasoning takes its place.
                answer = dict(sorted(told, key=lambda pair: pair[0] not in mistake.example)) or None
            shown_answer = "nothing readable" if answer is None else show_value(answer, _MISTAKE_TOKENS)
            lines.append(f"answered: {shown_answer}")
            if expected := mistake.example.labels().toDict():  # a judge needs none
                lines.append(f"expected: {show_value(expected, _MISTAKE_TOKENS)}")
            if mistake.feedback:
                lines.append(f"feedback: {show_value(mistake.feedback, _MISTAKE_TOKENS)}")
            shown.append("\n".join(lines))
        return "\n\n".join(shown)

    def _judge(self, slot: _Slot, answer: Answer, heard: list[str], number: int) -> None:
        """Fill the slot, or set it up for being asked again."""
        if answer.fault:
            reason = answer.fault
            slot.lean = slot.lean or reason in {"too long", "refused request"}
        else:
            proposed = self._own_part(answer.text, slot.predictor)  # the fixed end follows anyway
            verdict = self._guards[slot.predictor].judge(proposed, heard)
            reason = verdict.refused
            if not reason:
                slot.text = verdict.text
                heard.append(verdict.text)
                return
        self._refusals[reason] += 1
        if reason == "leak":
            # What is not seen can't be copied.
            slot.left_out = tuple(dict.fromkeys((*slot.left_out, *_EXAMPLES)))
        if reason != "duplicate":
            slot.cooling *= _COOLING
        # The same words would lead to the same proposal once more.
        if number or reason == "duplicate":
            slot.tip = next_tip(slot.tip) if self._how.tip_aware else slot.tip

    def _finished(self, slot: _Slot, taken: Sequence[str]) -> tuple[str, Origin]:
        """Return the instruction of a slot, "" where there is none, and how it came about."""
        sentence = self._grounding.label_sentence(slot.predictor) if slot.labels else ""
        tail = self._tails[slot.predictor]
        proposed = f"{slot.text}\n\n{tail}" if slot.text is not None and tail else slot.text
        text, tip = (proposed, slot.tip) if proposed is not None else (taken[0], ORIGINAL)
        origin = Origin(tip, left_out=slot.left_out, round=self._lessons.round)
        if sentence:
            stated = self._with_labels(text, slot.predictor, sentence)
            if stated not in taken:
                return stated, replace(origin, labels=True)
        return (text, origin) if proposed is not None and text not in taken else ("", origin)

    def _with_labels(self, text: str, p: int, sentence: str) -> str:
        """Return the instruction with the labels stated, if they are not and there is room."""
        if not sentence:
            return text
        labels = [label for fact in self._grounding.facts[p] for label in fact.labels]
        if all(has_word(text, label) for label in labels):
            return text
        stated = f"{text}\n{sentence}"
        limit = self._how.max_instruction_tokens
        return text if limit is not None and token_estimate(stated) > limit else stated

    def _notes(self, instructions: Sequence[Sequence[str]]) -> list[str]:
        notes = []
        if self._refusals:
            reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(self._refusals.items()))
            notes.append(f"answers of the prompt model that could not be used: {reasons}.")
        for p, (name, texts) in enumerate(zip(self._names, instructions, strict=True)):
            if p not in self._how.frozen and len(texts) < self._how.count:
                only = "only the original instruction" if len(texts) == 1 else f"{len(texts)} instructions"
                notes.append(
                    f"`{name}` has {only} instead of {self._how.count}: "
                    "the prompt model proposed nothing else that could be used."
                )
        return notes
