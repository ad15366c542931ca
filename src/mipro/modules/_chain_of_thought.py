"""`ChainOfThought`: a predictor that reasons before it answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mipro.modules._module import AnsweringModule
from mipro.modules._predict import Predict
from mipro.signature import OutputField, ensure_signature

if TYPE_CHECKING:
    from mipro.example import Prediction
    from mipro.signature import AnySignature


class ChainOfThought(AnsweringModule):
    """Asks for a field `reasoning` first, then for the outputs of the signature.

    Args:
        signature: "question -> answer" or a `Signature` class.
        rationale_field: An `OutputField(...)` in place of the usual one.
        rationale_field_type: Type of the reasoning.
        config: Parameters of the model; see `Predict`.

    Example:
        >>> list(ChainOfThought("question -> answer").predict.signature.output_fields)
        ['reasoning', 'answer']
    """

    def __init__(
        self,
        signature: AnySignature,
        rationale_field: Any = None,
        rationale_field_type: Any = str,
        **config: Any,
    ) -> None:
        super().__init__()
        field = rationale_field or OutputField(desc="${reasoning}")
        type_ = rationale_field.annotation if rationale_field else rationale_field_type
        self.predict: Predict = Predict(
            ensure_signature(signature).prepend("reasoning", field, type_), **config
        )

    def forward(self, **kwargs: Any) -> Prediction:
        """Ask the model."""
        return self.predict(**kwargs)

    async def aforward(self, **kwargs: Any) -> Prediction:
        """Ask the model, awaiting it."""
        return await self.predict.acall(**kwargs)
