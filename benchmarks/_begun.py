"""An adapter for small models: of the answer they write nothing that is known beforehand."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mipro.adapters import Adapter, JSONAdapter

if TYPE_CHECKING:
    from mipro import Signature


class BegunAdapter(JSONAdapter):
    """JSON of which the model only writes the value of the only output.

    There is no reminder after the inputs, and the answer begins where the value begins.
    """

    def begins(self, signature: type[Signature]) -> bool:
        """Whether answers to a signature are begun; others are asked for as they always are."""
        del signature
        return True

    def exchange(self, lm: Any, params: Any, signature: type[Signature], *args: Any) -> Any:
        """Ask without a schema, which the rest of an answer can't fulfil."""
        how = Adapter if self.begins(signature) else JSONAdapter
        return how.exchange(self, lm, params, signature, *args)

    def user_message_output_requirements(self, signature: type[Signature]) -> str | None:
        """Return nothing for what is begun: the first message has the layout."""
        return None if self.begins(signature) else super().user_message_output_requirements(signature)

    def format(self, signature: type[Signature], *args: Any, **kwargs: Any) -> list[dict[str, Any]]:
        """Return the prompt, and the answer up to the value."""
        messages = super().format(signature, *args, **kwargs)
        if not self.begins(signature):
            return messages
        beginning = json.dumps(dict.fromkeys(signature.output_fields, ""))[:-2]
        return [*messages, {"role": "assistant", "content": beginning}]

    def parse(self, signature: type[Signature], completion: str) -> dict[str, Any]:
        """Return the value, up to the closing quote."""
        if not self.begins(signature):
            return super().parse(signature, completion)
        return dict.fromkeys(signature.output_fields, completion.split('"', maxsplit=1)[0])
