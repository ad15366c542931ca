"""`MultiChainComparison`: several attempts at an answer, compared by the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mipro.errors import UserError
from mipro.modules._module import AnsweringModule
from mipro.modules._predict import Predict
from mipro.signature import InputField, OutputField, ensure_signature

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mipro.example import Completions, Prediction
    from mipro.signature import AnySignature


class MultiChainComparison(AnsweringModule):
    """Shows a model several attempts, each a reasoning and an answer, and asks for the best answer.

    A call takes the attempts first, then the inputs by name; the prediction has a field
    `rationale` before the outputs.

    Args:
        signature: "question -> answer" or a `Signature` class.
        M: How many attempts.
        temperature: Of the comparison.
        config: Parameters of the model; see `Predict`.

    Raises:
        UserError: The signature has an input `completions`.
    """

    def __init__(
        self,
        signature: AnySignature,
        M: int = 3,  # noqa: N803 - DSPy's name
        temperature: float = 0.7,
        **config: Any,
    ) -> None:
        super().__init__()
        asked = ensure_signature(signature)
        if "completions" in asked.input_fields:
            raise UserError(
                "`completions` can't be an input of MultiChainComparison: a call takes the attempts by that "
                "name; choose another."
            )
        self.M = M
        self.last_key: str = list(asked.output_fields)[-1]
        for number in range(1, M + 1):
            asked = asked.append(
                f"reasoning_attempt_{number}", InputField(desc="an attempt, maybe wrong"), str
            )
        rationale = OutputField(desc="what the attempts get right and wrong, and what follows")
        self.predict: Predict = Predict(
            asked.prepend("rationale", rationale, str), temperature=temperature, **config
        )

    def forward(self, completions: Sequence[Any] | Completions, **kwargs: Any) -> Prediction:
        """Compare.

        Args:
            completions: Predictions or dicts with `reasoning` or `rationale` and the answer.
            kwargs: The inputs.

        Raises:
            UserError: There are not as many as `M`.
        """
        return self.predict(**self._attempts(completions), **kwargs)

    async def aforward(self, completions: Sequence[Any] | Completions, **kwargs: Any) -> Prediction:
        """Compare, awaiting the model."""
        return await self.predict.acall(**self._attempts(completions), **kwargs)

    def _attempts(self, completions: Sequence[Any] | Completions) -> dict[str, str]:
        if len(completions) != self.M:
            raise UserError(
                f"`completions` must be `M` attempts, but got {len(completions)} and M={self.M}; "
                "pass M=... to MultiChainComparison."
            )
        attempts = {}
        for number in range(self.M):
            given = completions[number]
            reasoning = str(given.get("rationale", given.get("reasoning")) or "").strip()
            attempts[f"reasoning_attempt_{number + 1}"] = (
                f"{reasoning} Answer: {given[self.last_key]}".strip()
            )
        return attempts
