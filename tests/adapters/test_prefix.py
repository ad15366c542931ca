"""The head of a prompt is written once, and never stale."""

import pytest

from mipro.adapters import ChatAdapter
from mipro.example import Example
from mipro.signature import Signature


class Counting(ChatAdapter):
    """Counts how often the head is written, as the library's own adapter would."""

    _heads_can_be_kept = True

    def __init__(self):
        super().__init__()
        self.heads = 0
        self.demo_sets = 0

    def format_system_message(self, signature):
        """Count and write."""
        self.heads += 1
        return super().format_system_message(signature)

    def format_demos(self, signature, demos):
        """Count and write."""
        self.demo_sets += 1
        return super().format_demos(signature, demos)


@pytest.fixture
def adapter():
    """Return an adapter that counts."""
    Counting._heads_can_be_kept = True
    return Counting()


DEMOS = [{"question": "Q", "answer": "A"}, Example(question="Q2", answer="A2")]


def test_system_message_and_demos_are_written_once(adapter):
    """However many inputs follow."""
    signature = Signature("question -> answer")
    for number in range(10):
        messages = adapter.format(signature, DEMOS, {"question": str(number)})
        assert len(messages) == 6
    assert (adapter.heads, adapter.demo_sets) == (1, 1)


def test_messages_belong_to_the_caller(adapter):
    """Changing them does not change the next prompt."""
    signature = Signature("question -> answer")
    first = adapter.format(signature, DEMOS, {"question": "x"})
    expected = [dict(message) for message in first]
    for message in first:
        message["content"] = "changed"
    assert adapter.format(signature, DEMOS, {"question": "x"}) == expected


def test_a_signature_changed_in_place_is_written_anew(adapter):
    """Instructions and descriptions."""
    signature = Signature("question -> answer")
    adapter.format(signature, [], {"question": "x"})
    signature.instructions = "Sing."
    assert "Sing." in adapter.format(signature, [], {"question": "x"})[0]["content"]
    signature.fields["answer"].json_schema_extra["desc"] = "a song"
    assert "a song" in adapter.format(signature, [], {"question": "x"})[0]["content"]


def test_demos_changed_in_place_are_written_anew(adapter):
    """Also inside a list, and for values that only look alike."""
    signature = Signature("context: list[str], question -> answer")
    demo = {"context": ["a"], "question": "Q", "answer": True}
    adapter.format(signature, [demo], {"question": "x"})
    demo["context"].append("b")
    assert '["a", "b"]' in adapter.format(signature, [demo], {"question": "x"})[1]["content"]
    demo["answer"] = 1
    assert "\n1\n" in adapter.format(signature, [demo], {"question": "x"})[2]["content"]


def test_an_adapter_of_the_user_is_always_asked():
    """Its methods may depend on anything."""

    class Own(ChatAdapter):
        mood = "calm"

        def format_task_description(self, signature):
            return f"Be {self.mood}."

    adapter, signature = Own(), Signature("question -> answer")
    assert "Be calm." in adapter.format(signature, [], {"question": "x"})[0]["content"]
    adapter.mood = "loud"
    assert "Be loud." in adapter.format(signature, [], {"question": "x"})[0]["content"]
