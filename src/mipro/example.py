# ruff: noqa: SLF001 - records of one class look into each other
"""Records: `Example`, a row of data, and `Prediction`, what a program answered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, overload

from typing_extensions import Self

from mipro._normal import as_spelled
from mipro.errors import UserError

# Fields with this prefix are bookkeeping: kept, but not counted, listed or shown.
_HIDDEN_PREFIX = "dspy_"

ROWS = '`mipro.datasets.from_records(table.to_dict("records"), input_keys=[...])`'
"""How examples are made of a table, which is no list of rows: going through it gives its columns' names."""


def or_of_table(row: Any) -> str:
    """Return what to add to advice on making an example where `row`, which is none, is a column's name."""
    return f", or of a table {ROWS}" if isinstance(row, str) else ""


class Example:
    """A row of data with named fields, read as attributes or as keys.

    `with_inputs` says which fields are given to a program; the others are labels.

    Args:
        base: A mapping or another `Example` whose fields are copied first.
        fields: Fields by name; they win over those of `base`.

    Raises:
        UserError: `base` is neither a mapping nor an `Example`, or a name in it is no text.

    Example:
        >>> row = Example(question="1 + 1?", answer="2").with_inputs("question")
        >>> row.inputs().toDict(), row.labels().answer
        ({'question': '1 + 1?'}, '2')
    """

    # Two forms for type checkers: `Example(**row)` may hold a field of any name.
    @overload
    def __init__(self, base: Example | Mapping[str, Any] | None = None, /, **fields: Any) -> None: ...

    @overload
    def __init__(self, *, base: Example | Mapping[str, Any] | None, **fields: Any) -> None: ...

    def __init__(  # type: ignore[misc] # `base` by its place and a field of that name never come together
        self, base: Example | Mapping[str, Any] | None = None, **fields: Any
    ) -> None:
        self._store: dict[str, Any] = {}
        self._input_keys: set[str] | None = None
        if isinstance(base, Example):
            self._store = dict(base._store)
            if base._input_keys is not None:
                self._input_keys = set(base._input_keys)
        elif isinstance(base, Mapping):
            self._store = dict(base)
            if not all(isinstance(name, str) for name in base):
                raise UserError(
                    f"fields must have texts as names, but got {list(base)}; rename the columns, for "
                    "example `{str(name): value for name, value in row.items()}`."
                )
        elif base is not None:
            raise UserError(
                f"`base` must be a mapping or an Example, but got {type(base).__name__}: {base!r}. "
                "For a field of that name pass a mapping, as in Example({'base': ...})."
            )
        for name, value in fields.items():
            self[name] = value

    def __getattr__(self, key: str) -> Any:
        # `_store` itself is absent while an instance is being copied or unpickled.
        if key != "_store" and not (key.startswith("__") and key.endswith("__")):
            name = as_spelled(key, self._store)
            if name in self._store:
                return self._store[name]
        raise AttributeError(
            f"`{type(self).__name__}` object has no attribute '{key}'; "
            f"fields: {list(self.__dict__.get('_store', ()))}."
        )

    def __setattr__(self, key: str, value: Any) -> None:
        if key.startswith("_") or hasattr(type(self), key):
            super().__setattr__(key, value)
        else:
            self[key] = value

    def __delattr__(self, key: str) -> None:
        if key in self.__dict__:
            super().__delattr__(key)
        elif key in self:
            del self[key]
        else:
            raise AttributeError(f"`{type(self).__name__}` object has no attribute '{key}'.")

    def __getitem__(self, key: str) -> Any:
        return self._store[as_spelled(key, self._store)]

    def __setitem__(self, key: str, value: Any) -> None:
        if not isinstance(key, str):
            raise UserError(f"a field must have a text as its name, but got {key!r}.")
        self._store[as_spelled(key, self._store)] = value

    def __delitem__(self, key: str) -> None:
        del self._store[as_spelled(key, self._store)]

    def __contains__(self, key: object) -> bool:
        return key in self._store or (isinstance(key, str) and as_spelled(key, self._store) in self._store)

    def __iter__(self) -> Iterator[str]:
        return iter(dict(self._store))

    def __len__(self) -> int:
        return len(self.keys())

    def __repr__(self) -> str:
        return f"Example({dict(self.items())}) (input_keys={self._input_keys})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Example) and self._store == other._store

    def __hash__(self) -> int:
        return _hash_of(self._store)

    def keys(self, include_dspy: bool = False) -> list[str]:
        """Return the field names, bookkeeping fields (`dspy_...`) only if asked for."""
        return [key for key in self._store if include_dspy or not key.startswith(_HIDDEN_PREFIX)]

    def values(self, include_dspy: bool = False) -> list[Any]:
        """Return the field values, in the order of `keys`."""
        return [self._store[key] for key in self.keys(include_dspy)]

    def items(self, include_dspy: bool = False) -> list[tuple[str, Any]]:
        """Return pairs of field name and value, in the order of `keys`."""
        return [(key, self._store[key]) for key in self.keys(include_dspy)]

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value of the field `key`, or `default` where there is none."""
        return self._store.get(as_spelled(key, self._store), default)

    def with_inputs(self, *keys: str) -> Self:
        """Return a copy whose input fields are `keys`; all other fields are labels.

        Raises:
            UserError: A key is no text.
        """
        wrong = [key for key in keys if not isinstance(key, str)]
        if wrong:
            raise UserError(
                f"inputs must be named one by one, as in with_inputs('question'), but got {wrong[0]!r}; "
                "a list of names is passed as with_inputs(*names)."
            )
        copied = self.copy()
        copied._input_keys = {as_spelled(key, self._store) for key in keys}
        return copied

    def inputs(self) -> Self:
        """Return a copy with the input fields only.

        Raises:
            UserError: `with_inputs` was not called on this example.
        """
        if self._input_keys is None:
            raise UserError(
                "Inputs have not been set for this example; say which fields are inputs, for example "
                f"`example.with_inputs({next(iter(self._store), 'question')!r})`."
            )
        copied = type(self)({key: self._store[key] for key in self._store if key in self._input_keys})
        copied._input_keys = self._input_keys
        return copied

    def labels(self) -> Self:
        """Return a copy with the fields that are not inputs.

        Raises:
            UserError: `with_inputs` was not called on this example.
        """
        inputs = self.inputs()._store
        return type(self)({key: value for key, value in self._store.items() if key not in inputs})

    def copy(self, **changes: Any) -> Self:
        """Return a copy with the fields `changes` added or replaced; values are shared."""
        copied = type(self)(self)
        for name, value in changes.items():
            copied[name] = value
        return copied

    def without(self, *keys: str) -> Self:
        """Return a copy without the fields `keys`.

        Raises:
            KeyError: There is no such field.
        """
        copied = self.copy()
        for key in keys:
            del copied[key]
        return copied

    def toDict(self) -> dict[str, Any]:  # noqa: N802 - DSPy's name
        """Return all fields as a plain dict; nested records and pydantic models too."""
        return {key: _plain(value) for key, value in self._store.items()}


class Prediction(Example):
    """What a program answered: its output fields, and every completion where `n > 1`.

    A prediction with a field `score` compares, computes, rounds and is formatted (f"{prediction:.1f}") like
    that number.
    """

    # The strand of the program that asked the model, for whoever reads the trace.
    _strand = 0

    @overload
    def __init__(self, base: Example | Mapping[str, Any] | None = None, /, **fields: Any) -> None: ...

    @overload
    def __init__(self, *, base: Example | Mapping[str, Any] | None, **fields: Any) -> None: ...

    def __init__(  # type: ignore[misc] # as above
        self, base: Example | Mapping[str, Any] | None = None, **fields: Any
    ) -> None:
        super().__init__(base, **fields)
        self._completions: Completions | None = None
        self._lm_usage: dict[str, Any] | None = None
        self._metadata: dict[str, Any] = {}

    @classmethod
    def from_completions(
        cls, list_or_dict: list[dict[str, Any]] | dict[str, list[Any]], signature: Any = None
    ) -> Prediction:
        """Return a prediction of several completions; its fields are those of the first.

        Args:
            list_or_dict: One dict of fields for each completion, or for each field
                the list of its values.
            signature: Signature that the fields belong to.

        Raises:
            UserError: The completions do not all have the same fields.
        """
        prediction = cls()
        prediction._completions = Completions(list_or_dict, signature=signature)
        prediction._store = {key: values[0] for key, values in prediction._completions.items() if values}
        return prediction

    @property
    def completions(self) -> Completions | None:
        """All completions, or None where the prediction was not made by a model."""
        return self._completions

    def get_lm_usage(self) -> dict[str, Any] | None:
        """Return the tokens used, by model, or None where `track_usage` is off."""
        return self._lm_usage

    def set_lm_usage(self, value: dict[str, Any] | None) -> None:
        """Record the tokens used, by model."""
        self._lm_usage = value

    def get_metadata(self) -> dict[str, Any]:
        """Return notes on how the prediction came about.

        Keys, each only where it applies: "adapter" (the one whose format was read),
        "fallback" (why the first adapter could not read the answer), "reasoning"
        (the model's native reasoning, one text for each completion).
        """
        return self._metadata

    def __repr__(self) -> str:
        fields = ",\n    ".join(f"{key}={value!r}" for key, value in self._store.items())
        others = len(self._completions) - 1 if self._completions else 0
        if others < 1:
            return f"Prediction(\n    {fields}\n)"
        return (
            f"Prediction(\n    {fields},\n    completions=Completions(...)\n) ({others} completions omitted)"
        )

    def __float__(self) -> float:
        if "score" not in self._store:
            raise UserError(
                f"only a Prediction with a field `score` is a number; fields: {list(self._store)}."
            )
        return float(self._store["score"])

    def __format__(self, format_spec: str) -> str:
        return format(float(self), format_spec) if format_spec else str(self)

    def __round__(self, ndigits: int | None = None) -> float:
        return round(float(self), ndigits)

    def __add__(self, other: Any) -> float:
        return float(self) + _number(other)

    def __radd__(self, other: Any) -> float:
        return _number(other) + float(self)

    def __sub__(self, other: Any) -> float:
        return float(self) - _number(other)

    def __rsub__(self, other: Any) -> float:
        return _number(other) - float(self)

    def __mul__(self, other: Any) -> float:
        return float(self) * _number(other)

    def __rmul__(self, other: Any) -> float:
        return _number(other) * float(self)

    def __truediv__(self, other: Any) -> float:
        return float(self) / _number(other)

    def __rtruediv__(self, other: Any) -> float:
        return _number(other) / float(self)

    def __lt__(self, other: Any) -> bool:
        return float(self) < _number(other)

    def __le__(self, other: Any) -> bool:
        return float(self) <= _number(other)

    def __gt__(self, other: Any) -> bool:
        return float(self) > _number(other)

    def __ge__(self, other: Any) -> bool:
        return float(self) >= _number(other)


class Completions:
    """Several completions of one call, by index (a `Prediction`) or by field (a list).

    Args:
        list_or_dict: A dict of fields for each completion, or a list of values for each field.
        signature: What they were asked for with.

    Raises:
        UserError: The fields are no lists of one length.
    """

    def __init__(
        self, list_or_dict: list[dict[str, Any]] | dict[str, list[Any]], signature: Any = None
    ) -> None:
        columns: dict[str, list[Any]] = {}
        if isinstance(list_or_dict, list):
            for completion in list_or_dict:
                for key, value in completion.items():
                    columns.setdefault(key, []).append(value)
        else:
            columns = list_or_dict
        if not all(isinstance(values, list) for values in columns.values()):
            raise UserError(f"every field of `Completions` must be a list, but got {columns!r}.")
        lengths = {key: len(values) for key, values in columns.items()}
        # A list says how many there are: of {"a": 1} and {"b": 2} no field has both.
        count = len(list_or_dict) if isinstance(list_or_dict, list) else max(lengths.values(), default=0)
        if any(length != count for length in lengths.values()):
            raise UserError(
                f"all fields of `Completions` must have the same length, {count}, but got {lengths}."
            )
        self.signature = signature
        self._completions = columns

    def items(self) -> Any:
        """Return pairs of field name and list of values."""
        return self._completions.items()

    def __getitem__(self, key: int | str) -> Any:
        if isinstance(key, int):
            if not 0 <= key < len(self):
                raise IndexError(f"index {key} is out of range; there are {len(self)} completions.")
            return Prediction({name: values[key] for name, values in self._completions.items()})
        return self._completions[key]

    def __getattr__(self, name: str) -> Any:
        if name != "_completions" and name in self._completions:
            return self._completions[name]
        raise AttributeError(f"`Completions` object has no attribute '{name}'.")

    def __len__(self) -> int:
        return len(next(iter(self._completions.values()), ()))

    def __contains__(self, key: object) -> bool:
        return key in self._completions

    def __repr__(self) -> str:
        fields = ",\n    ".join(f"{key}={value!r}" for key, value in self._completions.items())
        return f"Completions(\n    {fields}\n)"


def _number(other: Any) -> float:
    if isinstance(other, (int, float, Prediction)):
        return float(other)
    raise TypeError(
        f"a Prediction computes with numbers and Predictions only, but got {type(other).__name__}: {other!r}."
    )


def _plain(value: Any) -> Any:
    if isinstance(value, type):  # a pydantic class has the methods of its instances
        return value
    if hasattr(value, "toDict"):
        return value.toDict()
    if hasattr(value, "model_dump"):
        return value.model_dump()
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _hash_of(value: Any) -> int:
    """Hash by content; equal values have equal hashes, lists and dicts included."""
    if isinstance(value, dict):
        return hash(frozenset((key, _hash_of(item)) for key, item in value.items()))
    if isinstance(value, (list, tuple)):
        return hash(tuple(_hash_of(item) for item in value))
    try:
        return hash(value)
    except TypeError:
        return 0  # unhashable: equality alone decides
