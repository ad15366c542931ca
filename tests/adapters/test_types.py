"""Custom types: images, tools, tool calls, history, and those of the user."""

import asyncio
import base64
import functools
import http.server
import socket
import threading

import pydantic
import pytest

from mipro.adapters import (
    Audio,
    ChatAdapter,
    History,
    Image,
    JSONAdapter,
    Reasoning,
    Tool,
    ToolCalls,
    Type,
    XMLAdapter,
)
from mipro.context import context
from mipro.errors import AdapterParseError, UserError
from mipro.modules import Predict
from mipro.signature import InputField, OutputField, Signature
from mipro.testing.lms import ScriptedLM

PNG = b"\x89PNG\r\n\x1a\n" + b"0" * 8
PNG_URI = "data:image/png;base64," + base64.b64encode(PNG).decode()


@pytest.mark.parametrize(
    ("source", "url"),
    [
        ("https://example.org/a.png", "https://example.org/a.png"),
        ("gs://bucket/a.png", "gs://bucket/a.png"),
        (PNG_URI, PNG_URI),
        (PNG, PNG_URI),
        ({"url": "https://example.org/a.png"}, "https://example.org/a.png"),
        (Image("https://example.org/a.png"), "https://example.org/a.png"),
        (b"\xff\xd8\xff", "data:image/jpeg;base64,/9j/"),
        (b"RIFF0000WEBP", "data:image/webp;base64,UklGRjAwMDBXRUJQ"),
    ],
)
def test_images_are_made_of_addresses_and_data(source, url):
    """Nothing is read from disk or network for it."""
    assert Image(source).url == url
    assert Image(source).format() == [{"type": "image_url", "image_url": {"url": url}}]


@pytest.mark.parametrize(
    ("kind", "saved_as", "told_as"),
    [("PNG", "PNG", "image/png"), ("JPEG", "JPEG", "image/jpeg"), (None, "PNG", "image/png")],
)
def test_images_are_made_of_what_saves_itself(kind, saved_as, told_as):
    """PIL's images do, one that was drawn has no format; PIL itself is not needed here."""

    class Picture:
        format = kind

        def save(self, file, **options):
            assert options == {"format": saved_as}
            file.write(PNG)

    assert Image(Picture()).url == PNG_URI.replace("image/png", told_as)


@pytest.mark.parametrize("source", ["cat.png", b"text", 3])
def test_what_is_no_image_is_refused(source):
    """A path too: files are read by name only."""
    with pytest.raises(UserError):
        Image(source)


def test_an_image_is_read_from_a_file(tmp_path):
    """The ending or else the data say what kind it is."""
    path = tmp_path / "cat.png"
    path.write_bytes(PNG)
    (tmp_path / "cat").write_bytes(PNG)
    (tmp_path / "text").write_bytes(b"text")
    assert Image.from_path(path).url == Image.from_path(tmp_path / "cat").url == PNG_URI
    with pytest.raises(UserError, match="File not found"):
        Image.from_path("nowhere.png")
    with pytest.raises(UserError, match="can't be told"):
        Image.from_path(tmp_path / "text")


def test_an_image_is_downloaded_when_asked_for():
    """From http(s) only; what the server says goes before the ending of the address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "image/png")
            self.end_headers()
            self.wfile.write(PNG)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/x.gif"
        assert Image.from_url(address).url == PNG_URI
        assert Image(address, download=True).url == PNG_URI
        assert Image(url=address, download=False, verify=False).url == address
        server.shutdown()
    with pytest.raises(UserError, match="requires an HTTP"):
        Image.from_url("file:///etc/passwd")


@pytest.mark.parametrize("kind", [Image, Audio])
def test_a_failed_download_names_the_address(kind):
    """Without what is secret in it; urllib tells of a dead server, or of a 404, and not of which."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{closed.getsockname()[1]}/x.png"
        with pytest.raises(
            OSError, match=f"'http://{place}' could not be fetched: .*refused.*; check"
        ) as caught:
            kind.from_url(f"http://user:sesame@{place}?key=sesame")
    assert "sesame" not in str(caught.value)


def test_an_answer_has_nothing_fetched():
    """A model that answers with an address and `download` must not choose what is asked for."""
    with pytest.raises(pydantic.ValidationError, match="download"):
        pydantic.TypeAdapter(Image).validate_python({"url": "http://127.0.0.1:9/x.png", "download": True})


def test_the_repr_of_an_image_does_not_show_its_data():
    """It would fill the screen."""
    assert (
        repr(Image(PNG)) == f"Image(url=data:image/png;base64,<IMAGE_BASE_64_ENCODED({len(PNG_URI) - 22})>)"
    )
    assert repr(Image("https://example.org/a")) == "Image(url='https://example.org/a')"


def test_a_type_of_the_user_is_shown_as_it_says():
    """As text or as content blocks, also inside lists."""

    class Link(Type):
        url: str

        def format(self):
            return [{"type": "text", "text": f"<{self.url}>"}]

        @classmethod
        def description(cls):
            return "An address."

    signature = Signature({"links": (list[Link], InputField()), "answer": OutputField()})
    system, user = ChatAdapter().format(signature, [], {"links": [Link(url="a"), Link(url="b")]})
    assert "Link: An address." in system["content"]
    assert [part["text"] for part in user["content"] if part["text"].startswith("<")] == ["<a>", "<b>"]


def search(query: str, k: int = 3) -> list[str]:
    """Search the archive."""
    return [query] * k


async def slow_search(query: str) -> str:
    """Search slowly."""
    await asyncio.sleep(0)
    return query


class Place(pydantic.BaseModel):
    """A place."""

    name: str
    inner: "Place | None" = None


def test_a_tool_is_described_by_its_function():
    """Name, docstring, types, defaults."""
    tool = Tool(search, arg_desc={"k": "how many"})
    assert (tool.name, tool.desc) == ("search", "Search the archive.")
    assert tool.args == {
        "query": {"type": "string"},
        "k": {"type": "integer", "default": 3, "description": "how many"},
    }
    function = tool.format_as_openai_function_call()["function"]
    assert function["parameters"]["required"] == ["query"]


def test_a_default_of_a_tool_is_json_and_the_same_in_every_process():
    """An address or the order of a set made other prompts, and an object could not be sent at all."""
    words = [f"word{number:02}" for number in range(20)]

    def look(where=frozenset(words), how=search, what=Place(name="x"), at=object()):  # noqa: B008 - the test
        return where, how, what, at

    defaults = {name: schema["default"] for name, schema in Tool(look).args.items()}
    place = {"name": "x", "inner": None}
    assert defaults == {"where": words, "how": "search", "what": place, "at": "object"}


@pytest.mark.parametrize(
    ("bound", "given"),
    [
        (functools.partial(search, k=2), {"query": "cats"}),
        (functools.partial(search, "cats"), {"k": "2"}),
    ],
)
def test_a_function_of_which_something_is_bound_is_a_tool(bound, given):
    """The model sees the function and what is left to give, not `partial` and `args`, nor what is bound."""
    tool, whole = Tool(bound), Tool(search)
    assert (tool.name, tool.desc) == (whole.name, whole.desc)
    assert tool.args == {name: whole.args[name] for name in given}
    assert tool(**given) == ["cats"] * 2


def test_methods_objects_and_lambdas_are_tools():
    """Whatever can be called."""

    class Counter:
        """Counts."""

        def __call__(self, by: int) -> int:
            return by + 1

        def step(self) -> str:
            """Step."""
            return "stepped"

    assert Tool(Counter())(by="2") == 3
    assert Tool(Counter()).name == "Counter"
    assert Tool(Counter().step)() == "stepped"
    assert Tool(lambda x: x, name="same")(x=[1]) == [1]
    with pytest.raises(UserError, match="must be a function or a Tool"):
        Tool("search")


def test_arguments_of_a_tool_are_converted_and_checked():
    """Models too; what does not fit is named."""

    def visit(place: Place, days: int = 1, **rest: str) -> str:
        return f"{place.name} {days} {rest}"

    assert Tool(visit)(place={"name": "Rome"}, days="2", why="sun") == "Rome 2 {'why': 'sun'}"
    with pytest.raises(UserError, match="Arg days is invalid"):
        Tool(visit)(place={"name": "Rome"}, days="many")
    with pytest.raises(UserError, match="Arg q is not in the tool's args"):
        Tool(search)(q="x")


def test_an_async_tool_is_awaited():
    """And called only where waiting is allowed."""
    tool = Tool(slow_search)
    assert asyncio.run(tool.acall(query="x")) == "x"
    assert asyncio.run(Tool(search).acall(query="x", k=1)) == ["x"]
    with pytest.raises(UserError, match="is an async tool: await `acall`"):
        tool(query="x")
    with context(allow_tool_async_sync_conversion=True):
        assert tool(query="x") == "x"


def test_an_async_tool_is_not_waited_for_inside_a_loop():
    """That would never end."""

    async def inside():
        with context(allow_tool_async_sync_conversion=True):
            return Tool(slow_search)(query="x")

    with pytest.raises(UserError, match="inside a running event loop"):
        asyncio.run(inside())


ACT = Signature(
    {"question": InputField(), "tools": (list[Tool], InputField()), "calls": (ToolCalls, OutputField())}
)


class NativeLM(ScriptedLM):
    """A model with tool calls of its own."""

    supports_function_calling = True


def test_native_tool_calls_go_past_the_prompt():
    """Tools are sent in the server's format, calls are read from it."""
    call = {"id": "c1", "type": "function", "function": {"name": "search", "arguments": '{"query": "cats"}'}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    lm = NativeLM([{"choices": [{"index": 0, "message": message}]}])
    adapter = JSONAdapter()
    (values,) = adapter(
        lm, lm_kwargs={}, signature=ACT, demos=[], inputs={"question": "Q", "tools": [Tool(search)]}
    )
    assert values["calls"].tool_calls[0].execute([Tool(search)]) == ["cats"] * 3
    assert lm.calls[0]["kwargs"]["tools"][0]["function"]["name"] == "search"
    assert "[[ ## tools ## ]]" not in str(lm.calls[0]["messages"])


@pytest.mark.parametrize("adapter", [ChatAdapter, JSONAdapter, XMLAdapter])
def test_a_model_that_is_only_to_call_tools_is_reminded_of_no_fields(adapter):
    """The last words that it read were of fields in an order, with none named."""
    call = {"id": "c1", "type": "function", "function": {"name": "search", "arguments": '{"query": "cats"}'}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    lm = NativeLM([{"choices": [{"index": 0, "message": message}]}])
    with context(lm=lm, adapter=adapter(use_native_function_calling=True)):
        Predict(ACT)(question="Q", tools=[Tool(search)])
    assert "order" not in lm.calls[0]["messages"][-1]["content"]


def _with_a_call(content):
    call = {"id": "c1", "type": "function", "function": {"name": "search", "arguments": "{}"}}
    message = {"role": "assistant", "content": content, "tool_calls": [call]}
    return {"choices": [{"index": 0, "message": message}]}


@pytest.mark.parametrize(
    ("of_adapter", "of_call", "sent"),
    [
        (None, {}, {}),
        (False, {}, {"parallel_tool_calls": False, "tool_choice": "auto"}),
        (False, {"parallel_tool_calls": True}, {"parallel_tool_calls": True, "tool_choice": "auto"}),
        (True, {"tool_choice": "required"}, {"parallel_tool_calls": True, "tool_choice": "required"}),
    ],
)
def test_native_tool_calls_are_asked_for_as_told(of_adapter, of_call, sent):
    """By the adapter; what a call says goes first."""
    lm = NativeLM([_with_a_call(None)])
    adapter = ChatAdapter(use_native_function_calling=True, parallel_tool_calls=of_adapter)
    adapter(lm, of_call, signature=ACT, demos=[], inputs={"question": "Q", "tools": [Tool(search)]})
    assert {name: value for name, value in lm.calls[0]["kwargs"].items() if name != "tools"} == sent


@pytest.mark.parametrize(
    ("content", "answer"), [("[[ ## answer ## ]]\nA", "A"), ("I look it up.", None), (None, None)]
)
def test_what_stands_beside_tool_calls_is_read_where_it_is_the_fields(content, answer):
    """A model that calls a tool may say anything else, or nothing."""
    lm = NativeLM([_with_a_call(content)])
    with context(lm=lm, adapter=ChatAdapter(use_native_function_calling=True)):
        found = Predict(ACT.append("answer", OutputField()))(question="Q", tools=[Tool(search)])
    assert found.answer == answer
    assert found.calls.tool_calls[0].name == "search"
    assert len(lm.calls) == 1


def test_one_tool_may_be_given_as_itself():
    """Where the field is a `Tool`, and no list of them."""
    lm = NativeLM([_with_a_call(None)])
    signature = Signature({"tool": (Tool, InputField()), "calls": (ToolCalls, OutputField())})
    JSONAdapter()(lm, {}, signature=signature, demos=[], inputs={"tool": Tool(search)})
    assert [sent["function"]["name"] for sent in lm.calls[0]["kwargs"]["tools"]] == ["search"]


@pytest.mark.parametrize(("native", "sent"), [(True, {"tools": [{"type": "web_search"}]}), (False, {})])
def test_tools_of_the_server_are_the_callers_where_no_field_is_of_calls(native, sent):
    """Without native tool calls they are left out, since nobody would read what the model calls."""
    lm = NativeLM([{"answer": "A"}])
    with context(lm=lm, adapter=ChatAdapter(use_native_function_calling=native)):
        Predict("question -> answer", tools=[{"type": "web_search"}])(question="Q")
    assert lm.calls[0]["kwargs"] == sent


def test_logprobs_are_given_with_the_fields():
    """As the server sent them, where they were asked for."""
    message = {"role": "assistant", "content": "[[ ## answer ## ]]\nA"}
    logprobs = {"content": [{"token": "A", "logprob": -0.5}]}
    lm = ScriptedLM([{"choices": [{"index": 0, "message": message, "logprobs": logprobs}]}])
    with context(lm=lm, adapter=ChatAdapter()):
        assert Predict("question -> answer")(question="Q", config={"logprobs": True}).logprobs == logprobs


def test_tool_calls_are_written_as_json_where_a_model_has_none():
    """In any of the usual forms."""
    texts = [
        '{"tool_calls": [{"name": "f", "args": {"x": 1}}]}',
        '[{"name": "f", "arguments": "{\\"x\\": 1}"}]',
        '{"name": "f", "args": {"x": 1}}',
        '{"tool_calls": [{"name": "f", "parameters": {"x": 1}}]}',
    ]
    for text in texts:
        calls = ChatAdapter().parse(ACT, f"[[ ## calls ## ]]\n{text}")["calls"]
        assert calls.format() == {"tool_calls": [{"name": "f", "args": {"x": 1}}]}


def test_a_tool_call_without_arguments_is_its_name():
    """As models write the call of a tool that takes none; a dict that merely has a name is no call."""
    calls = ChatAdapter().parse(ACT, '[[ ## calls ## ]]\n{"tool_calls": [{"name": "f"}]}')["calls"]
    assert calls.format() == {"tool_calls": [{"name": "f", "args": {}}]}
    with pytest.raises(AdapterParseError, match="Received invalid value for `ToolCalls`"):
        ChatAdapter().parse(ACT, '[[ ## calls ## ]]\n{"name": "f"}')


def test_tool_calls_need_tools():
    """A signature that wants calls and takes no tools is refused."""
    signature = Signature({"question": InputField(), "calls": (ToolCalls, OutputField())})
    with pytest.raises(UserError, match="add one of type `list"):
        JSONAdapter()(NativeLM([""]), lm_kwargs={}, signature=signature, demos=[], inputs={"question": "Q"})


class ReasoningLM(ScriptedLM):
    """A model that reasons by itself."""

    supports_reasoning = True


THINK = Signature({"question": InputField(), "why": (Reasoning, OutputField()), "answer": OutputField()})


def test_native_reasoning_fills_a_reasoning_field():
    """It is not in the prompt, and the effort is asked for."""
    message = {"role": "assistant", "content": "[[ ## answer ## ]]\nA", "reasoning_content": " because "}
    lm = ReasoningLM([{"choices": [{"index": 0, "message": message}]}] * 2)
    for _ in range(2):
        (values,) = ChatAdapter()(lm, lm_kwargs={}, signature=THINK, demos=[], inputs={"question": "Q"})
        assert values == {"why": " because ", "answer": "A"}
    assert values["why"].strip() == "because"
    assert lm.calls[0]["kwargs"] == {"reasoning_effort": "low"}
    assert "[[ ## why ## ]]" not in str(lm.calls[0]["messages"])


def test_other_models_write_a_reasoning_field_themselves():
    """As they do where the effort is None."""
    for lm in (ScriptedLM([{"why": "W", "answer": "A"}]), ReasoningLM([{"why": "W", "answer": "A"}])):
        (values,) = ChatAdapter()(
            lm, lm_kwargs={"reasoning_effort": None}, signature=THINK, demos=[], inputs={"question": "Q"}
        )
        assert values["why"] == Reasoning("W")
        assert "`why` (str)" in lm.calls[0]["messages"][0]["content"]


def test_reasoning_is_used_like_a_text():
    """Length, parts, sums, methods."""
    text = Reasoning("ab")
    assert (str(text), repr(text), len(text), text[0], "b" in text, list(text)) == (
        "ab",
        "'ab'",
        2,
        "a",
        True,
        ["a", "b"],
    )
    assert (text + "c", "c" + text, (text + text).content, text.upper()) == ("abc", "cab", "abab", "AB")
    assert hash(text) == hash("ab")
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = text.nothing
    with pytest.raises(ValueError, match="invalid value for `Reasoning`"):
        Reasoning.model_validate(3)


def test_only_a_history_is_a_history():
    """A list of turns must be wrapped."""
    signature = Signature(
        {"history": (History, InputField()), "question": InputField(), "answer": OutputField()}
    )
    with pytest.raises(UserError, match="`history` must be a History"):
        ChatAdapter().format(signature, [], {"history": [{"question": "Q"}], "question": "Q"})
    assert len(ChatAdapter().format(signature, [], {"question": "Q"})) == 2
