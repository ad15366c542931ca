"""The metaclass of signatures: gives a class its fields, its instructions and its repr."""

from __future__ import annotations

import inspect
import logging
import sys
from typing import TYPE_CHECKING, Any, ForwardRef, cast

import pydantic
from pydantic.fields import FieldInfo

from mipro.errors import SignatureError
from mipro.signature._fields import RESERVED_NAMES, ROLE, TYPE_IS_UNDEFINED, infer_prefix
from mipro.signature._types import TypeFault, read_type, type_fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic._internal._model_construction import ModelMetaclass

    from mipro.signature._signature import Signature
else:
    # pydantic's metaclass has no public name; a type checker needs one to see it.
    ModelMetaclass = type(pydantic.BaseModel)

_log = logging.getLogger(__name__)


class _UndeclaredFieldError(SignatureError, TypeError):
    """A field of a signature class was declared with neither InputField nor OutputField."""


class SignatureMeta(ModelMetaclass):
    """Makes `Signature("question -> answer")` return a class, and gives classes their fields."""

    if TYPE_CHECKING:  # what every class of this metaclass has
        model_fields: dict[str, FieldInfo]
        __pydantic_fields__: dict[str, FieldInfo]
        _make: Callable[..., type[Signature]]

    def __call__(cls, *args: Any, **kwargs: Any) -> type[Signature]:
        if cls.__base__ is pydantic.BaseModel:  # `Signature` itself
            return cls._make(*args, **kwargs)
        return cast("type[Signature]", super().__call__(*args, **kwargs))  # a filled-in one, of no use

    def __new__(
        mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **kwargs: Any
    ) -> SignatureMeta:
        namespace["__annotations__"] = _annotations(namespace)
        for field_name, annotation in namespace["__annotations__"].items():
            is_setting = field_name == "model_config" and not isinstance(namespace.get(field_name), FieldInfo)
            if field_name in RESERVED_NAMES and not is_setting:
                raise SignatureError(
                    f"`{field_name}` can't be a field name: {RESERVED_NAMES[field_name]}; choose another."
                )
            if not isinstance(namespace.get(field_name), FieldInfo):
                continue
            # A text, or what it is read as, may name a class that is made later.
            fault = "" if isinstance(annotation, (str, ForwardRef)) else type_fault(annotation)
            if fault:
                raise SignatureError(
                    f"the type of field `{field_name}` of `{name}` {fault}, but got {annotation!r}."
                )
        try:
            created = cast("SignatureMeta", super().__new__(mcs, name, bases, namespace, **kwargs))
        except TypeError as error:  # a type in a type only looks like one, as `dict[str]` in a list
            types = dict(namespace["__annotations__"])
            raise SignatureError(f"the types of fields must be whole, but got {types}: {error}.") from error
        for field_name, field in created.model_fields.items():
            extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
            if extra.get(ROLE) not in ("input", "output"):
                raise _UndeclaredFieldError(
                    f"Field `{field_name}` of `{name}` must be declared with InputField or OutputField, "
                    f"for example `{field_name}: str = InputField()`, but got {field!r}."
                )
            extra.setdefault("prefix", infer_prefix(field_name) + ":")
            extra.setdefault("desc", f"${{{field_name}}}")
        if created.__doc__ is None or created.__doc__ == pydantic.BaseModel.__doc__:
            created.__doc__ = _inherited_instructions(bases) or _default_instructions(created)
            if sys.flags.optimize > 1 and "__qualname__" in namespace and created.model_fields:
                _log.warning(
                    "`%s` has no docstring; one in its source was dropped by -OO or PYTHONOPTIMIZE=2, so run "
                    "without, or write `__doc__ = ...` in the class. Its instructions are now: %s",
                    name,
                    created.__doc__,
                )
        return created

    @property
    def instructions(cls) -> str:
        """What the model is told to do."""
        return inspect.cleandoc(cls.__doc__ or "")

    @instructions.setter
    def instructions(cls, instructions: str) -> None:
        cls.__doc__ = instructions

    @property
    def input_fields(cls) -> dict[str, FieldInfo]:
        """Input fields by name, in order."""
        return _of_role(cls.__pydantic_fields__, "input")

    @property
    def output_fields(cls) -> dict[str, FieldInfo]:
        """Output fields by name, in order."""
        return _of_role(cls.__pydantic_fields__, "output")

    @property
    def fields(cls) -> dict[str, FieldInfo]:
        """All fields by name, inputs before outputs."""
        return {**cls.input_fields, **cls.output_fields}

    @property
    def signature(cls) -> str:
        """The names of the fields, as "question -> answer"."""
        return f"{', '.join(cls.input_fields)} -> {', '.join(cls.output_fields)}"

    def __repr__(cls) -> str:
        if cls.__base__ is pydantic.BaseModel:
            return super().__repr__()
        fields = "\n    ".join(f"{name} = Field({field})" for name, field in cls.fields.items())
        return f"{cls.__name__}({cls.signature}\n    instructions={cls.instructions!r}\n    {fields}\n)"


def _of_role(fields: dict[str, FieldInfo], role: str) -> dict[str, FieldInfo]:
    # Asked for a dozen times a call, so no function is called for a field, nor for `model_fields`, which is
    # `__pydantic_fields__`; a signature's have these extras.
    return {n: f for n, f in fields.items() if f.json_schema_extra[ROLE] == role}  # type: ignore[index]


def _default_instructions(signature: SignatureMeta) -> str:
    inputs = ", ".join(f"`{name}`" for name in signature.input_fields)
    outputs = ", ".join(f"`{name}`" for name in signature.output_fields)
    return f"Given the fields {inputs}, produce the fields {outputs}."


def _inherited_instructions(bases: tuple[type, ...]) -> str | None:
    # `Signature` itself comes last in every ancestry; its docstring is documentation.
    signatures = [base for base in bases if isinstance(base, SignatureMeta) and base.model_fields]
    return next((base.__doc__ for base in signatures if base.__doc__), None)


def _annotations(namespace: dict[str, Any]) -> dict[str, Any]:
    """Return the annotations of a class body, in the order of its fields, `str` where absent."""
    written = namespace.get("__annotations__")
    if written is None and sys.version_info >= (3, 14):
        import annotationlib  # noqa: PLC0415 - new in Python 3.14

        annotate = annotationlib.get_annotate_from_class_namespace(namespace)
        if annotate is not None:
            written = annotationlib.call_annotate_function(annotate, annotationlib.Format.FORWARDREF)
    written = dict(written or {})
    ordered: dict[str, Any] = {}
    for name, field in namespace.items():
        if not isinstance(field, FieldInfo) or name.startswith("__"):
            continue
        if name not in written:
            written[name] = str
            if isinstance(field.json_schema_extra, dict):
                field.json_schema_extra[TYPE_IS_UNDEFINED] = True
        ordered[name] = _resolved(written[name])
    return {**ordered, **{name: type_ for name, type_ in written.items() if name not in ordered}}


def _resolved(annotation: Any) -> Any:
    """Return the type that a string annotation names, where it can be found already."""
    if not isinstance(annotation, str):
        return annotation
    try:
        return read_type(annotation)
    except TypeFault:
        return annotation  # left to pydantic, which may know it later
