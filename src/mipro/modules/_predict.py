"""`Predict`: one call to a model, from a signature's inputs to its outputs."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from typing_extensions import Self

from mipro._names import of_dspy
from mipro._normal import as_spelled
from mipro._whole import is_whole
from mipro.adapters import ChatAdapter
from mipro.context import settings
from mipro.errors import NoModelError, StateError, UserError
from mipro.example import Example, Prediction
from mipro.modules._inputs import input_faults
from mipro.modules._module import Module
from mipro.modules._saving import serialize_object, serialize_record
from mipro.modules._trace import as_it_is, as_they_are, place_in_trace, strand
from mipro.modules._tree import Parameter
from mipro.signature import ensure_signature

if TYPE_CHECKING:
    from mipro.adapters import Adapter
    from mipro.lm import BaseLM
    from mipro.modules._trace import Place
    from mipro.signature import AnySignature, Signature

logger = logging.getLogger("mipro.modules")

# Used where none is configured; one for all, so that what it keeps serves every call.
_DEFAULT_ADAPTER = ChatAdapter()

_STATE_KEYS = frozenset({"traces", "train", "demos", "signature", "lm"})
# An address in a file would make the next call send the user's key there.
_UNSAFE_LM_KEYS = frozenset({"api_base", "base_url", "model_list"})
# Below this a model gives the same answer n times over.
_MIN_TEMPERATURE_FOR_MANY, _TEMPERATURE_FOR_MANY = 0.15, 0.7
# What a call takes beside its inputs; given to the constructor it would be sent as a parameter of the model.
_OF_A_CALL = {
    "config": "give what is in it by name, as in `Predict(signature, temperature=0.7)`",
    "demos": "set `demos` of the predictor, or give them with the call",
    "lm": "use `set_lm`, or give it with the call",
}


@dataclass(frozen=True, slots=True)
class _Call:
    """Everything about one call, read once at its entrance."""

    lm: BaseLM
    adapter: Adapter
    signature: type[Signature]
    demos: Sequence[Any]
    config: dict[str, Any]
    inputs: dict[str, Any]
    is_traced: bool


class _Warned(set[str]):
    """Faults that were warned of, in copies of a predictor too: the candidates of a run make the same."""

    def __deepcopy__(self, _memo: dict[int, Any]) -> Self:
        return self


class Predict(Module, Parameter):
    """Asks a model for the output fields of a signature.

    A call takes the input fields by name, and `config` (parameters of this call), `lm`,
    `demos` and `signature` in place of the predictor's own.

    Args:
        signature: "question -> answer" or a `Signature` class.
        callbacks: See `Module`.
        config: Parameters of the model, for example `temperature=0.7` or `n=5`.

    Attributes:
        signature: The signature; its instructions are what optimizers change.
        demos: Worked examples shown to the model.
        lm: The model, or None for the one that is configured.
        config: Parameters of the model.

    Raises:
        SignatureError: `signature` can't be read.
        UserError: `signature` is None, or `config` holds `config`, `demos` or `lm`.

    Example:
        >>> classify = Predict("sentence -> sentiment: Literal['positive', 'negative']")
        >>> classify.signature.output_fields["sentiment"].annotation
        typing.Literal['positive', 'negative']
    """

    def __init__(
        self, signature: AnySignature, callbacks: Sequence[Any] | None = None, **config: Any
    ) -> None:
        for name, instead in _OF_A_CALL.items():
            if config.get(name) is not None:
                raise UserError(
                    f"What is given beside the signature must be a parameter of the model, but got `{name}`; "
                    f"{instead}."
                )
        super().__init__(callbacks)
        self.signature: type[Signature] = ensure_signature(signature)
        self.config: dict[str, Any] = config
        self._warned = _Warned()
        self.reset()

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "signature":  # a text too, wherever it is set: all that reads it takes it for a class
            value = ensure_signature(value)
            if value is None:
                raise UserError('`signature` must be a signature such as "question -> answer", but got None.')
        super().__setattr__(name, value)

    def reset(self) -> None:
        """Forget demos, traces and the model."""
        self.lm: BaseLM | None = None
        self.traces: list[Any] = []
        self.train: list[Any] = []
        self.demos: list[Any] = []

    def __call__(self, *args: Any, **kwargs: Any) -> Prediction:
        """Ask the model.

        Raises:
            UserError: A positional argument was given, no model is configured (`NoModelError`), what is
                configured as `adapter` is none, or, under `configure(strict=True)`, the inputs do not fit
                the signature.
            AdapterParseError: The answer does not hold the output fields.
            LMError: The call failed.
        """
        self._refuse_positional(args)
        return super().__call__(**kwargs)  # type: ignore[no-any-return] # what `forward` returns

    async def acall(self, *args: Any, **kwargs: Any) -> Prediction:
        """Ask the model; the async form of a plain call."""
        self._refuse_positional(args)
        return await super().acall(**kwargs)  # type: ignore[no-any-return] # as above

    def forward(self, **kwargs: Any) -> Prediction:
        """Do the work of a call."""
        call = self._prepare(kwargs)
        with place_in_trace(wanted=call.is_traced) as place:
            seen = as_they_are(call.inputs) if place is not None else {}
            answers = call.adapter(
                call.lm, lm_kwargs=call.config, signature=call.signature, demos=call.demos, inputs=call.inputs
            )
            return self._prediction(call, answers, place, seen)

    async def aforward(self, **kwargs: Any) -> Prediction:
        """Do the work of an async call."""
        call = self._prepare(kwargs)
        with place_in_trace(wanted=call.is_traced) as place:
            seen = as_they_are(call.inputs) if place is not None else {}
            answers = await call.adapter.acall(
                call.lm, lm_kwargs=call.config, signature=call.signature, demos=call.demos, inputs=call.inputs
            )
            return self._prediction(call, answers, place, seen)

    def _prepare(self, kwargs: dict[str, Any]) -> _Call:
        own = self.signature.input_fields
        given = {name: kwargs.pop(name) for name in _OPTIONS if name in kwargs and name not in own}
        signature = ensure_signature(given.get("signature", self.signature))
        lm = _checked_lm(given.get("lm") or self.lm or settings.lm)
        own_config = given.get("config") or {}
        if not isinstance(own_config, Mapping):
            raise UserError(
                "`config` must be a dict of parameters of the model, such as {'temperature': 0.7}, but got "
                f"{own_config!r}."
            )
        config = {**self.config, **own_config}
        predicted = kwargs.get("prediction")
        if isinstance(predicted, dict) and predicted.get("type") == "content" and "content" in predicted:
            config["prediction"] = kwargs.pop("prediction")  # OpenAI's predicted outputs
        self._vary_if_many(lm, config)
        fields = signature.input_fields
        kwargs = {as_spelled(name, fields): value for name, value in kwargs.items()}
        for name, field in fields.items():
            if name not in kwargs and not field.is_required():
                kwargs[name] = field.get_default(call_default_factory=True)
        for name, value in kwargs.items():
            if isinstance(value, Iterator):  # once: a second prompt, the trace and demos are to show it too
                kwargs[name] = list(value)
        self._report(dict(input_faults(signature, kwargs)))
        return _Call(
            lm=lm,
            adapter=_checked_adapter(settings.adapter),
            signature=signature,
            demos=_checked_demos(given.get("demos", self.demos)),
            config=config,
            inputs=kwargs,
            is_traced=given.get("_trace", True),
        )

    @staticmethod
    def _vary_if_many(lm: BaseLM, config: dict[str, Any]) -> None:
        defaults = getattr(lm, "kwargs", {})
        temperature = config.get("temperature") or defaults.get("temperature")
        count = config.get("n") or defaults.get("n") or defaults.get("num_generations") or 1
        if is_whole(count, 2) and (temperature is None or temperature <= _MIN_TEMPERATURE_FOR_MANY):
            config["temperature"] = _TEMPERATURE_FOR_MANY

    def _report(self, faults: dict[str, str]) -> None:
        if faults and settings.strict:
            raise UserError(" ".join(faults.values()))
        for name, fault in faults.items():
            if name not in self._warned:  # once: an evaluation makes the same mistake a thousand times
                self._warned.add(name)
                logger.warning("%s", fault)

    def _prediction(
        self, call: _Call, answers: list[dict[str, Any]], place: Place | None, seen: dict[str, Any]
    ) -> Prediction:
        prediction = Prediction.from_completions(answers, signature=call.signature)
        prediction.get_metadata().update(getattr(answers, "metadata", {}))
        if place is not None:
            prediction._strand = strand()  # noqa: SLF001 - what a trace needs to know of it
            place.fill([(self, seen, as_it_is(prediction))])
        return prediction

    def _refuse_positional(self, args: tuple[Any, ...]) -> None:
        if args:
            names = list(self.signature.input_fields)
            raise UserError(
                "Positional arguments are not allowed when calling `Predict`, must use keyword arguments "
                f"that match your signature input fields: '{', '.join(names)}'. For example: "
                f"`predict({names[0] if names else 'field'}=input_value, ...)`."
            )

    def update_config(self, **config: Any) -> None:
        """Add to the parameters of the model."""
        self.config = {**self.config, **config}

    def get_config(self) -> dict[str, Any]:
        """Return the parameters of the model."""
        return self.config

    def dump_state(self, json_mode: bool = True) -> dict[str, Any]:
        """Return what an optimizer has set, as plain values; never a key."""
        del json_mode  # there is no other
        return {
            "traces": serialize_object(self.traces),
            "train": serialize_object(self.train),
            "demos": [serialize_record(demo) for demo in self.demos],
            "signature": self.signature.dump_state(),
            "lm": self.lm.dump_state() if self.lm else None,
        }

    def load_state(self, state: Mapping[str, Any], *, allow_unsafe_lm_state: bool = False) -> Predict:
        """Take over what `dump_state` returned; all of it or, when it does not fit, nothing.

        Args:
            state: The state; not modified.
            allow_unsafe_lm_state: Whether the address of the model is taken over too.

        Returns:
            This predictor.

        Raises:
            StateError: The state is of another predictor; what is wrong is named.
        """
        if not isinstance(state, Mapping):
            raise StateError(f"the state of a predictor must be a dict, but got {state!r}.")
        unknown = sorted(set(state) - _STATE_KEYS)
        missing = sorted({"demos", "signature"} - set(state))
        if unknown or missing:
            raise StateError(
                f"the state of a predictor must have {sorted(_STATE_KEYS)}, but it has the unknown "
                f"fields {unknown} and lacks {missing}."
            )
        lists = {name: _listed(state, name) for name in ("demos", "traces", "train")}
        if bad := [demo for demo in lists["demos"] if not isinstance(demo, (Mapping, Example))]:
            raise StateError(f"every demo in the state of a predictor must be a dict, but got {bad[0]!r}.")
        signature = self.signature.load_state(state["signature"])
        lm = _loaded_lm(state.get("lm"), allow_unsafe=allow_unsafe_lm_state)
        self.signature, self.lm = signature, lm
        self.demos = [
            {as_spelled(name, signature.fields): value for name, value in dict(demo).items()}
            for demo in lists["demos"]
        ]
        self.traces, self.train = lists["traces"], lists["train"]
        return self

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.signature})"


_OPTIONS = ("signature", "demos", "config", "lm", "_trace")


def _checked_lm(lm: Any) -> BaseLM:
    if lm is None:
        from mipro.lm._base import misnamed_model  # noqa: PLC0415 - heavy, and for who has no model only

        raise NoModelError(
            "No LM is loaded. Configure one, for example "
            f"`mipro.configure(lm=mipro.LM('openai/gpt-4o-mini'))`, or pass `lm=`.{misnamed_model()}"
        )
    if isinstance(lm, str):
        raise NoModelError(f"LM must be an instance of `BaseLM`, not a string; pass `mipro.LM({lm!r})`.")
    from mipro.lm import BaseLM  # noqa: PLC0415 - heavy, and a caller with a model has it loaded

    if not isinstance(lm, BaseLM):
        got = of_dspy(lm) or f"{type(lm).__name__}: {lm!r}"
        raise NoModelError(f"LM must be an instance of `BaseLM`, but got {got}.")
    return lm


def _checked_demos(demos: Any) -> Sequence[Any]:
    if isinstance(demos, Sequence) and all(isinstance(demo, (Example, Mapping)) for demo in demos):
        return demos
    raise UserError(
        f"`demos` must be a list of examples or dicts, such as [mipro.Example(...)], but got {demos!r}; "
        "write [] for none."
    )


def _checked_adapter(adapter: Any) -> Adapter:
    if adapter is None:
        return _DEFAULT_ADAPTER
    if isinstance(adapter, type) or not callable(adapter):
        raise UserError(
            f"`adapter` must be an adapter, such as `mipro.JSONAdapter()`, but got {adapter!r}; "
            "make one and pass it to `mipro.configure(adapter=...)`."
        )
    made: Adapter = adapter
    return made


def _listed(state: Mapping[str, Any], name: str) -> list[Any]:
    found = state.get(name, [])
    if not isinstance(found, (list, tuple)):
        raise StateError(f"`{name}` must be a list in the state of a predictor, but got {found!r}.")
    return list(found)


def _loaded_lm(state: Mapping[str, Any] | None, *, allow_unsafe: bool) -> BaseLM | None:
    if not state:
        return None
    if not isinstance(state, Mapping):
        raise StateError(f"`lm` must be a dict in the state of a predictor, or None, but got {state!r}.")
    from mipro.lm import BaseLM  # noqa: PLC0415 - heavy, and a caller with a model has it loaded
    from mipro.lm._secrets import split_secrets  # noqa: PLC0415 - as above

    # Clients have many names for an address, and would send the user's key to whatever it is. With a key or
    # headers, which no saved state has, the user's data would go to the account of whoever wrote the file.
    unsafe = sorted(
        key
        for key, value in state.items()
        if key in _UNSAFE_LM_KEYS or "://" in str(value) or split_secrets({key: value})[1]
    )
    if unsafe and not allow_unsafe:
        logger.warning(
            "Ignoring unsafe LM config key(s) during state load: %s. "
            "Pass allow_unsafe_lm_state=True to preserve these keys for trusted files.",
            unsafe,
        )
        state = {key: value for key, value in state.items() if key not in unsafe}
    return BaseLM.load_state(dict(state), allow_custom_lm_class=allow_unsafe)
