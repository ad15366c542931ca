"""`ReAct`: an agent that thinks, calls a tool, sees what came of it, and goes on."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from mipro._steps import drive, drive_async
from mipro._whole import is_whole
from mipro.adapters import ChatAdapter, Tool
from mipro.context import settings
from mipro.errors import (
    AdapterParseError,
    ContextWindowError,
    LMError,
    LMRequestError,
    RunStopped,
    UserError,
)
from mipro.example import Prediction
from mipro.modules._chain_of_thought import ChainOfThought
from mipro.modules._module import AnsweringModule, Module
from mipro.modules._predict import Predict
from mipro.signature import IS_FORMATTED, InputField, OutputField, ensure_signature, make_signature

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from mipro.signature import AnySignature, Signature

_log = logging.getLogger("mipro.modules")

_FINISH = "finish"
_TRAJECTORY = "trajectory"
_OWN_FIELDS = (_TRAJECTORY, "next_thought", "next_tool_name", "next_tool_args")
# Each step writes thought, tool name, tool arguments and observation.
_KEYS_PER_STEP = 4
_TRUNCATIONS = 3


@dataclass(frozen=True, slots=True)
class _Step:
    """A call that the agent asks its driver to make, sync or async."""

    target: Module | Tool
    arguments: dict[str, Any]


class ReAct(AnsweringModule):
    """An agent (reasoning and acting, Yao et al. 2022) for any signature.

    Args:
        signature: What is given and what must be answered.
        tools: Functions with types and docstrings, or `Tool`s; none is allowed.
        max_iters: How many tool calls at most; a call may pass its own `max_iters`.

    Raises:
        SignatureError: `signature` can't be read.
        UserError: `tools` is no list, two tools have the same name, a field has the name of one of the
            agent's own, or `max_iters` is no whole number of at least 0.

    Example:
        >>> def add(x: int, y: int) -> int:
        ...     "Add two numbers."
        ...     return x + y
        >>> list(ReAct("question -> answer", tools=[add]).tools)
        ['add', 'finish']
    """

    def __init__(
        self,
        signature: AnySignature,
        tools: Sequence[Callable[..., Any] | Tool] = (),
        max_iters: int = 20,
    ) -> None:
        super().__init__()
        self.signature: type[Signature] = _checked(ensure_signature(signature))
        self.max_iters = _checked_count(max_iters)
        self.tools: dict[str, Tool] = _named_tools(tools, self.signature)
        acting = make_signature(dict(self.signature.input_fields), _instructions(self.signature, self.tools))
        self.react: Predict = Predict(
            _with_trajectory(acting)
            .append("next_thought", OutputField(), str)
            .append("next_tool_name", OutputField(), Literal[tuple(self.tools)])
            .append("next_tool_args", OutputField(), dict[str, Any])
        )
        answering = make_signature(self.signature.fields, self.signature.instructions)
        self.extract: ChainOfThought = ChainOfThought(_with_trajectory(answering))

    def forward(self, **inputs: Any) -> Prediction:
        """Run the agent; the prediction has its `trajectory` beside the outputs."""
        return drive(self._steps(inputs), lambda step: step.target(**step.arguments))

    async def aforward(self, **inputs: Any) -> Prediction:
        """Run the agent, awaiting models and tools."""
        return await drive_async(self._steps(inputs), lambda step: step.target.acall(**step.arguments))

    def _steps(self, inputs: dict[str, Any]) -> Generator[_Step, Any, Prediction]:
        """Yield the calls to make; the one core of `forward` and `aforward`."""
        max_iters = self.max_iters if "max_iters" in self.signature.input_fields else None
        max_iters = inputs.pop("max_iters", self.max_iters) if max_iters is None else max_iters
        _checked_count(max_iters)
        trajectory: dict[str, Any] = {}
        for number in range(max_iters):
            try:
                chosen = yield from self._asked(self.react, trajectory, inputs)
            except (AdapterParseError, ContextWindowError) as error:
                _log.warning("Ending the trajectory: the agent chose no valid tool: %s", error)
                break
            name = chosen.next_tool_name
            trajectory[f"thought_{number}"] = chosen.next_thought
            trajectory[f"tool_name_{number}"] = name
            trajectory[f"tool_args_{number}"] = chosen.next_tool_args
            trajectory[f"observation_{number}"] = yield from self._observed(name, chosen.next_tool_args)
            if name == _FINISH:
                break
        answer = yield from self._asked(self.extract, trajectory, inputs)
        return Prediction({"trajectory": trajectory, **answer})

    def _observed(self, name: str, arguments: dict[str, Any]) -> Generator[_Step, Any, Any]:
        """Yield the tool call and return what came of it, a failure in words."""
        try:
            return (yield _Step(self.tools[name], arguments))
        except RunStopped:
            raise
        except LMError as error:
            if not isinstance(error, LMRequestError):  # the infrastructure's failure, not the tool's
                raise
            return _failure(name, error)
        except Exception as error:  # noqa: BLE001 - a tool may raise anything; the agent is told
            return _failure(name, error)

    def _asked(
        self, module: Module, trajectory: dict[str, Any], inputs: dict[str, Any]
    ) -> Generator[_Step, Any, Any]:
        """Yield the call to a model; where the prompt is too long, without the oldest steps."""
        for _ in range(_TRUNCATIONS):
            try:
                return (yield _Step(module, {**inputs, "trajectory": self._format_trajectory(trajectory)}))
            except ContextWindowError as error:  # noqa: PERF203 - the next try is shorter
                _log.warning("The trajectory is too long for the model; leaving out the oldest step.")
                last = error
                trajectory = self.truncate_trajectory(trajectory)
        raise ContextWindowError(
            f"The context window was exceeded even after {_TRUNCATIONS} attempts to truncate the trajectory.",
            model=last.model,
            status=last.status,
        ) from last

    def _format_trajectory(self, trajectory: dict[str, Any]) -> str:
        adapter = settings.adapter or _TRAJECTORY_ADAPTER
        return adapter.format_user_message_content(_trajectory_signature(tuple(trajectory)), trajectory)

    def truncate_trajectory(self, trajectory: dict[str, Any]) -> dict[str, Any]:
        """Return the trajectory without its oldest step; subclasses may do it otherwise.

        Args:
            trajectory: The steps; changed in place, so that later prompts are shorter too.

        Raises:
            ContextWindowError: There is one step only.
        """
        keys = list(trajectory)
        if len(keys) <= _KEYS_PER_STEP:
            raise ContextWindowError(
                "The prompt exceeds the context window, and the trajectory cannot be truncated because it "
                "only has one tool call."
            )
        for key in keys[:_KEYS_PER_STEP]:
            trajectory.pop(key)
        return trajectory


_TRAJECTORY_ADAPTER = ChatAdapter()


@functools.lru_cache(maxsize=256)
def _trajectory_signature(names: tuple[str, ...]) -> type[Signature]:
    """Return a signature whose inputs are the entries of a trajectory; all agents share them."""
    return make_signature({name: InputField() for name in names}, "")


def _with_trajectory(signature: type[Signature]) -> type[Signature]:
    return signature.append(_TRAJECTORY, InputField(json_schema_extra={IS_FORMATTED: True}), str)


def _checked(signature: type[Signature]) -> type[Signature]:
    inputs, outputs = signature.input_fields, signature.output_fields
    for name in _OWN_FIELDS:
        if name in inputs or (name in outputs and name == _TRAJECTORY):
            raise UserError(f"`{name}` can't be a field of an agent: it has one of its own; choose another.")
    return signature


def _checked_count(max_iters: int) -> int:
    if not is_whole(max_iters, 0):
        raise UserError(f"`max_iters` must be a whole number of turns, 0 or more, but got {max_iters!r}.")
    return max_iters


def _named_tools(tools: Sequence[Any], signature: type[Signature]) -> dict[str, Tool]:
    named: dict[str, Tool] = {}
    if not isinstance(tools, Iterable):
        raise UserError(
            f"`tools` must be a list of functions, but got {tools!r}; write [] where there are none."
        )
    for given in tools:
        tool = given if isinstance(given, Tool) else Tool(given)
        name = str(tool.name)
        if name in named or name == _FINISH:
            raise UserError(f"tools must have distinct names other than `{_FINISH}`, but `{name}` is taken.")
        named[name] = tool
    outputs = _listed(signature.output_fields)
    named[_FINISH] = Tool(
        lambda: "Completed.",
        name=_FINISH,
        desc=f"Ends the task: all that is needed for {outputs} is known.",
        args={},
    )
    return named


def _instructions(signature: type[Signature], tools: dict[str, Tool]) -> str:
    own = f"{signature.instructions}\n\n" if signature.instructions else ""
    return own + rules(signature, tools)


def rules(signature: type[Signature], tools: dict[str, Tool]) -> str:
    """Return what an agent is told beside its task: how it works, and which tools it has.

    Args:
        signature: What the agent is given and must answer.
        tools: Its tools by name.
    """
    inputs, outputs = _listed(signature.input_fields), _listed(signature.output_fields)
    lines = [
        f"You work on this as an agent. You are given {inputs} and what you have done so far (`trajectory`).",
        f"Collect what you need to know for {outputs} by calling one tool after the other.",
        "In each turn write what you think and plan (`next_thought`), which tool to call (`next_tool_name`)",
        "and its arguments as JSON (`next_tool_args`). What it returns is added to the trajectory.\n",
        "The tools:\n",
        *(f"({number}) {tool}" for number, tool in enumerate(tools.values(), start=1)),
    ]
    # As it reads when it is asked for: a signature cleans its instructions.
    return inspect.cleandoc("\n".join(lines))


def _listed(names: Any) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _failure(name: str, error: Exception) -> str:
    return f"Execution error in {name}: {type(error).__name__}: {error}"
