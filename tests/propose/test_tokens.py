"""Token counts of values that are not text."""

import pydantic
import pytest

import mipro
from mipro.adapters import ChatAdapter, Document
from mipro.propose import MEDIA_TOKENS, content_tokens, token_estimate, value_tokens

PICTURE = mipro.Image("data:image/png;base64," + "A" * 200_000)
SOUND = mipro.Audio(data="A" * 200_000, audio_format="wav")


@pytest.mark.parametrize(
    "value", [PICTURE, SOUND, mipro.File(file_data="data:a/b;base64,QUFB"), str(PICTURE)]
)
def test_media_count_as_a_constant(value):
    """An image, sound, a file, and an image in a saved demo are not counted by the text of their data."""
    assert value_tokens(value) == MEDIA_TOKENS


def test_media_are_found_at_any_depth():
    """Two images in a list in a mapping are two images."""

    class Page(pydantic.BaseModel):
        pictures: list[mipro.Image]
        title: str

    page = Page(pictures=[PICTURE, PICTURE], title="Two of a kind")
    assert 2 * MEDIA_TOKENS < value_tokens([{"page": page}]) < 2 * MEDIA_TOKENS + 20


def test_a_model_that_is_gone_through_like_a_list_counts_by_its_fields():
    """Also where its items are no pairs of a name and a value."""

    class Pages(pydantic.RootModel[list[str]]):
        def __iter__(self):
            return iter(self.root)

    assert value_tokens(Pages(["some", "words"])) == value_tokens({"root": ["some", "words"]})


@pytest.mark.parametrize("value", ["some words", 12, 1.5, True, None])
def test_text_and_numbers_count_as_text(value):
    """Plain values count as what they are written as."""
    assert value_tokens(value) == token_estimate(str(value))


def test_types_that_are_text_count_as_text():
    """Code and documents in plain text take as many tokens as their text."""
    text = "print('hello') " * 40
    assert value_tokens(mipro.Code(code=text)) == token_estimate(text)
    assert value_tokens(Document(data=text)) == token_estimate(text)


def test_the_content_of_a_message():
    """Text and blocks count alike."""
    signature = mipro.Signature("picture: Image, text -> answer", custom_types={"Image": mipro.Image})
    inputs = {"picture": PICTURE, "text": "What is it?"}
    [_, message] = ChatAdapter().format(signature, demos=[], inputs=inputs)
    assert MEDIA_TOKENS < content_tokens(message["content"]) < MEDIA_TOKENS + 100
    assert content_tokens("What is it?") == token_estimate("What is it?")
