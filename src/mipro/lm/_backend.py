"""The seam between `LM` and what answers it: a server, a model in this process, litellm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from mipro.lm._types import LMRequest, LMResponse, Usage


class Backend(Protocol):
    """Answers requests; one attempt each, no retries, no cache, safe to share."""

    @property
    def endpoint(self) -> str:
        """Address without secrets that tells this server from others, or ""."""

    @property
    def supports_response_schema(self) -> bool:
        """Whether answers can be held to a JSON schema."""

    @property
    def supports_function_calling(self) -> bool:
        """Whether the model can be given tools."""

    @property
    def supports_reasoning(self) -> bool:
        """Whether the model reasons by itself before it answers."""

    def check(self) -> None:
        """Refuse what can't work before a call is made.

        Raises:
            LMAuthError: A key is needed and there is none.
            MissingExtraError: An optional package is needed and absent.
        """

    def load(self) -> None:
        """Load what the first call would be held up by; from any thread, and not needed for a call."""

    def price_usd(self, usage: Usage) -> float | None:
        """Return the price of a call in US dollars, or None where it is not known."""

    async def send(self, request: LMRequest) -> LMResponse:
        """Answer `request`, on the I/O loop.

        Raises:
            LMError: The call failed.
        """
