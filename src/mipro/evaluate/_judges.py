"""Metrics that ask a language model, for answers that can be right in many words.

Instructions are no docstrings, which `python -OO` drops.
"""

from __future__ import annotations

from typing import Any

from mipro.example import Prediction
from mipro.modules import ChainOfThought, Module
from mipro.signature import InputField, OutputField, Signature


class SemanticRecallPrecision(Signature):  # type: ignore[metaclass, unused-ignore]
    __doc__ = """Judge how much of the ground truth a response covers (recall), and how much of the response the ground truth supports (precision).
    When reasoning, list the key ideas of both and say which of them the other one has.
    """  # noqa: E501 - the text is the instruction

    question: str = InputField()
    ground_truth: str = InputField()
    system_response: str = InputField()
    recall: float = OutputField(desc="share (0.0 to 1.0) of the ground truth that the system response covers")
    precision: float = OutputField(
        desc="share (0.0 to 1.0) of the system response that the ground truth covers"
    )


class DecompositionalSemanticRecallPrecision(Signature):  # type: ignore[metaclass, unused-ignore]
    __doc__ = """Judge how much of the ground truth a response covers (recall), and how much of the response the ground truth supports (precision).
    First list the key ideas of each, then discuss how far they agree, then give both numbers.
    """  # noqa: E501 - the text is the instruction

    question: str = InputField()
    ground_truth: str = InputField()
    system_response: str = InputField()
    ground_truth_key_ideas: str = OutputField(desc="list of the key ideas in the ground truth")
    system_response_key_ideas: str = OutputField(desc="list of the key ideas in the system response")
    discussion: str = OutputField(desc="how far ground truth and system response agree")
    recall: float = OutputField(desc="share (0.0 to 1.0) of the ground truth that the system response covers")
    precision: float = OutputField(
        desc="share (0.0 to 1.0) of the system response that the ground truth covers"
    )


class AnswerCompleteness(Signature):  # type: ignore[metaclass, unused-ignore]
    __doc__ = """Judge how complete a response is, measured by the ground truth.
    First list the key ideas of each, then discuss how far they agree, then give the completeness.
    """

    question: str = InputField()
    ground_truth: str = InputField()
    system_response: str = InputField()
    ground_truth_key_ideas: str = OutputField(desc="list of the key ideas in the ground truth")
    system_response_key_ideas: str = OutputField(desc="list of the key ideas in the system response")
    discussion: str = OutputField(desc="how far ground truth and system response agree")
    completeness: float = OutputField(
        desc="share (0.0 to 1.0) of the ground truth that the system response covers"
    )


class AnswerGroundedness(Signature):  # type: ignore[metaclass, unused-ignore]
    __doc__ = """Judge how well the retrieved documents support a response.
    First list the claims of the response that need support, then discuss which of them follow from the context and common sense, then give the groundedness.
    """  # noqa: E501 - the text is the instruction

    question: str = InputField()
    retrieved_context: str = InputField()
    system_response: str = InputField()
    system_response_claims: str = OutputField(desc="list of the claims in the system response")
    discussion: str = OutputField(desc="how far the retrieved context supports the claims")
    groundedness: float = OutputField(
        desc="share (0.0 to 1.0) of the system response that the retrieved context supports"
    )


def harmonic_mean(precision: float, recall: float) -> float:
    """Return the harmonic mean of two shares, each brought into 0.0 to 1.0 first."""
    p, r = (max(0.0, min(1.0, share)) for share in (precision, recall))
    return 2 * p * r / (p + r) if p + r else 0.0


class SemanticF1(Module):
    """Metric: F1 of meaning between `pred.response` and `example.response`, judged by a model.

    Args:
        threshold: Score from which a demo counts as good while demos are bootstrapped.
        decompositional: Have the model list the key ideas of both texts first.
    """

    def __init__(self, threshold: float = 0.66, decompositional: bool = False) -> None:
        super().__init__()
        self.threshold = threshold
        self.module: ChainOfThought = ChainOfThought(
            DecompositionalSemanticRecallPrecision if decompositional else SemanticRecallPrecision
        )

    def forward(self, example: Any, pred: Any, trace: Any = None) -> Prediction:
        """Return `Prediction(score=...)`: a share, or whether it reaches the threshold under a trace."""
        judged = self.module(
            question=example.question, ground_truth=example.response, system_response=pred.response
        )
        score = harmonic_mean(judged.precision, judged.recall)
        return Prediction(score=score if trace is None else score >= self.threshold)


class CompleteAndGrounded(Module):
    """Metric: `pred.response` covers `example.response` and rests on `pred.context`, judged by a model.

    Args:
        threshold: Score from which a demo counts as good while demos are bootstrapped.
    """

    def __init__(self, threshold: float = 0.66) -> None:
        super().__init__()
        self.threshold = threshold
        self.completeness_module: ChainOfThought = ChainOfThought(AnswerCompleteness)
        self.groundedness_module: ChainOfThought = ChainOfThought(AnswerGroundedness)

    def forward(self, example: Any, pred: Any, trace: Any = None) -> Prediction:
        """Return `Prediction(score=...)`: a share, or whether it reaches the threshold under a trace."""
        completeness = self.completeness_module(
            question=example.question, ground_truth=example.response, system_response=pred.response
        )
        groundedness = self.groundedness_module(
            question=example.question, retrieved_context=pred.context, system_response=pred.response
        )
        score = harmonic_mean(groundedness.groundedness, completeness.completeness)
        return Prediction(score=score if trace is None else score >= self.threshold)
