"""What an instruction may be."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from mipro.example import Example
from mipro.propose import Corpus, Guard, LeakCheck, _leaks
from mipro.propose._guards import clean, similar

ORIGINAL = "Answer the question. Never mention prices."


def _guard(trainset=(), **settings):
    return Guard(ORIGINAL, Corpus(trainset), **settings)


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ("Classify the sentiment: positive or negative.", "Classify the sentiment: positive or negative."),
        ('"Answer in one word."', "Answer in one word."),
        ("```\nAnswer in one word.\n```", "Answer in one word."),
        ("```text\nLine one.\nLine two.\n```", "Line one.\nLine two."),
        ("```\n'Answer.'\n```", "Answer."),
        ("\u201cAnswer.\u201d", "Answer."),
        ("\u201eAntworte.\u201c", "Antworte."),
        ("\u201eOdpowiedz.\u201d", "Odpowiedz."),
        ("\u300c短く答える。\u300d", "短く答える。"),
        ("<think>\nHow?\n</think>\n\nAnswer in one word.", "Answer in one word."),
        ('"```\nAnswer in one word.\n```"', "Answer in one word."),
        ("Put it into <think></think> first.", "Put it into <think></think> first."),
        ('"Yes" or "no" must be said.', '"Yes" or "no" must be said.'),
        ('Say "yes" or "no"', 'Say "yes" or "no"'),
        ("**Task:** answer.", "**Task:** answer."),
        (
            "Sure! Here is an improved instruction for the model:\n\nAnswer in one word.",
            "Answer in one word.",
        ),
        ("Certainly, here\u2019s the revised, more detailed prompt:\n```\nAnswer.\n```", "Answer."),
        ('**Proposed Instruction:** "Answer in one word."', "Answer in one word."),
        ("Here are the instructions: Answer in one word.", "Answer in one word."),
        ("Here is an email: sort it.", "Here is an email: sort it."),
        ("Follow the new instructions: they win.", "Follow the new instructions: they win."),
        ("Instructions: 1. Read. 2. Answer.", "Instructions: 1. Read. 2. Answer."),
        ("Use ```code``` fences.", "Use ```code``` fences."),
        ('"""Answer in one word."""', "Answer in one word."),
        ("'''\nSay \"yes\".\n'''", 'Say "yes".'),
        ('"""Yes""" or """no"""', '"""Yes""" or """no"""'),
        ('"', '"'),
        ("", ""),
    ],
)
def test_clean_strips_only_what_the_instruction_is_wrapped_in(given_text, expected):
    """Instruction text is taken as the model gave it."""
    assert clean(given_text) == expected


@given(st.text())
def test_cleaning_twice_changes_nothing(text):
    """Cleaning is done after once."""
    assert clean(clean(text)) == clean(text)


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ("Rate it. Be brief. Be brief. Be brief. Be brief. Be br", "Rate it. Be brief."),
        ("Read. Think it over. Read. Think it over. Read.", "Read. Think it over."),
        ("One line\nanother\nanother\nanother\nanother", "One line\nanother"),
        ("短く答える。短く答える。短く答える。短く答える。", "短く答える。"),
        ("Be brief. Be brief. Be brief.", "Be brief. Be brief. Be brief."),
        ("Fill in:\n{a: {b: {c: {d: ?\n}\n}\n}\n}", "Fill in:\n{a: {b: {c: {d: ?\n}\n}\n}\n}"),
        (
            "Be brief. Be brief. Be brief. Be brief. Name it.",
            "Be brief. Be brief. Be brief. Be brief. Name it.",
        ),
    ],
)
def test_a_loop_at_the_end_is_left_out(given_text, expected):
    """Small models repeat themselves until they are cut off; what is said twice, or before more, stays."""
    assert clean(given_text) == expected


def test_a_good_proposal_passes():
    """A new instruction is accepted as it is."""
    verdict = _guard().judge("Give the shortest correct answer.", [ORIGINAL])
    assert (verdict.text, verdict.refused) == ("Give the shortest correct answer.", "")


@pytest.mark.parametrize("text", ["", "   ", "word", "!!! ???", "12 34"])
def test_what_instructs_nobody_is_refused(text):
    """Empty answers, single words and signs are no instruction."""
    assert _guard().judge(text, []).refused == "empty"


@pytest.mark.parametrize("text", ["请将工单分类到正确的队列", "質問に短く答えてください", "ตอบคำถามสั้นๆ"])
def test_an_instruction_without_blanks_is_one(text):
    """Chinese, Japanese and Thai put no blanks between words; such a proposal was taken for a single word."""
    assert _guard().judge(text, []).refused == ""


@pytest.mark.parametrize(
    "text",
    [
        "I'm sorry, but I can't help with that.",
        "I cannot do this.",
        "As an AI language model, I ...",
        "Sorry, no.",
    ],
)
def test_a_refusal_is_refused(text):
    """The model's refusal to write an instruction is not taken for one."""
    assert _guard().judge(text, []).refused == "refusal"


def test_speaking_of_refusals_is_no_refusal():
    """An instruction may say what to do when the model can't answer."""
    assert _guard().judge("If you cannot answer, say 'I am sorry'.", []).refused == ""


@pytest.mark.parametrize("text", ["Play Music", "be short", "the intent must be one of"])
def test_an_echo_is_refused(text):
    """A label, or a part of what the model was told, is no instruction."""
    public = ["Be short.", "The intent must be one of: Play Music, Get Weather."]
    assert _guard(public=public).judge(text, []).refused == "echo"


def test_a_copied_input_is_a_leak():
    """A proposal that is nothing but a part of a training input is refused, however short."""
    row = Example(utterance="Book me a table, please.", intent="book").with_inputs("utterance")
    assert _guard([row]).judge("book me a table", []).refused == "leak"


def test_a_patchwork_of_inputs_is_a_leak():
    """Half made of runs of four words of the examples is a copy, though no run is long."""
    data = [
        Example(q="please play me some jazz", a="x").with_inputs("q"),
        Example(q="what will the weather bring tomorrow", a="y").with_inputs("q"),
    ]
    assert _guard(data).judge("Play me some jazz: what will the weather do?", []).refused == "leak"
    assert _guard(data).judge("Decide whether a user wants to play me some jazz or not.", []).refused == ""


def test_a_near_duplicate_is_refused():
    """Other punctuation and case make no new instruction."""
    taken = ["Give the shortest correct answer to the question."]
    assert _guard().judge("give the shortest, correct answer to the question", taken).refused == "duplicate"


def test_instructions_of_other_words_are_not_similar():
    """A different wording is not a duplicate."""
    assert not similar("Name the intent of the utterance.", "Which of the seven actions does the user want?")


def test_too_long_a_proposal_is_refused():
    """`max_tokens` bounds the instruction, and refuses no shorter one."""
    assert _guard(max_tokens=20).judge("Answer well.", []).refused == ""
    assert _guard(max_tokens=20).judge("Answer very well " * 30, []).refused == "too long"


def test_a_part_to_keep_that_is_missing_is_put_back():
    """Kept parts are in every accepted instruction, word for word."""
    verdict = _guard(keep=["Never mention prices."]).judge("Give a short answer.", [])
    assert verdict.text == "Give a short answer.\nNever mention prices."


def test_a_part_to_keep_that_is_there_is_not_repeated():
    """A proposal that has the kept part stays as it is."""
    text = "Never mention prices. Give a short answer."
    assert _guard(keep=["Never mention prices."]).judge(text, []).text == text


def test_a_part_to_keep_of_another_predictor_is_not_added():
    """Parts are kept where they were."""
    assert _guard(keep=["Speak French."]).judge("Give a short answer.", []).text == "Give a short answer."


QA = [
    Example(
        question=f"Which river number {i} runs through the old town of city number {i}?",
        answer=f"the {name} river",
    ).with_inputs("question")
    for i, name in enumerate(["Pegnitz", "Isar", "Lech", "Iller", "Naab", "Vils"])
]


def test_an_answer_of_several_words_is_a_leak():
    """An instruction that gives away a training answer is refused."""
    assert _guard(QA).judge("Answer questions, for example with the Pegnitz River.", []).refused == "leak"


def test_eight_words_of_an_example_are_a_leak():
    """Eight words in a row of one training example are refused."""
    row = Example(question="my aunt once lost nine keys behind the green shed", answer="b").with_inputs(
        "question"
    )
    text = "Think of this: aunt once lost nine keys behind the green door."
    assert _guard([row, *QA]).judge(text, []).refused == "leak"


def test_seven_words_of_an_example_are_none():
    """Shorter runs of words happen by chance."""
    row = Example(question="my aunt once lost nine keys behind the green shed", answer="b").with_inputs(
        "question"
    )
    assert (
        _guard([row, *QA])
        .judge("Before you answer anything at all think: once lost nine keys behind the green door.", [])
        .refused
        == ""
    )


def test_a_name_given_once_is_a_leak():
    """A single word counts where it is a name spelled as in the data."""
    data = [Example(q=f"q{i}", a=a).with_inputs("q") for i, a in enumerate(["Paris", "Rome", "Oslo"])]
    assert _guard(data).judge("Name the capital, such as Oslo.", []).refused == "leak"


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("Name the capital of the country, and nothing else.", ""),
        ("Answer about France as briefly as you can.", ""),
        ("It was the year 476, say.", "leak"),
        ("Write no more than 25 words.", ""),
        ("Choose 'neutral' where you can't tell.", ""),
    ],
    ids=["no answer", "name of an input", "three digits", "two digits", "common answer"],
)
def test_only_what_gives_an_answer_away_is_a_leak(text, refused):
    """Data with names and numbers as answers forbid these, not what is asked about nor a small number."""
    data = [
        Example(place=place, answer=answer).with_inputs("place")
        for place, answer in [("France", "Paris"), ("Rome", "476"), ("Oslo", "25"), ("Lima", "neutral")]
    ]
    assert _guard(data).judge(text, []).refused == refused


def test_without_known_inputs_all_fields_are_answers():
    """Examples need not say which of their fields are inputs."""
    data = [Example(place="France", capital="Paris"), Example(place="Norway", capital="Oslo")]
    assert _guard(data).judge("Name the capital, such as Oslo.", []).refused == "leak"


@pytest.mark.parametrize(("text", "refused"), [("Ask Tom Hill now.", "leak"), ("The cat sat there.", "")])
def test_a_capital_makes_a_name_where_no_sentence_begins(text, refused):
    """Three words of an example count with a name among them; every sentence begins with a capital."""
    row = Example(q="You may ask Tom hill now. The cat sat on it.", a="b").with_inputs("q")
    guard = _guard([row, *QA])
    assert guard.judge(f"Read with care whatever the user has sent you today. {text}", []).refused == refused


@pytest.mark.parametrize("text", ["Say blue of a carpet at a window.", "Say blue of the ocean in a colour."])
def test_a_plain_word_of_two_examples_means_either(text):
    """However they spell it; one of them was left out, another one in each process."""
    data = [
        Example(question="which carpet suits the window", answer="blue").with_inputs("question"),
        Example(question="name the colour of the ocean", answer="blue.").with_inputs("question"),
        *(Example(question=f"thing {n}", answer=f"kind{n}").with_inputs("question") for n in "abcdef"),
    ]
    assert LeakCheck(Corpus(data)).find(text) == "blue"


def test_an_example_that_there_was_no_room_for_is_not_another_text(monkeypatch):
    """Its place was taken for one of the texts that stand after the examples."""
    monkeypatch.setattr(_leaks, "_MAX_CHARS", 0)
    data = [Example(question=f"thing {n}", answer=f"kind{n}").with_inputs("question") for n in "abcdef"]
    corpus = Corpus(data, others=["carpet near window"])
    assert LeakCheck(corpus).find("Say kindb of one carpet by one window.") == ""


def test_a_common_word_is_no_leak():
    """Single words that are no names may stand in an instruction."""
    data = [Example(q=f"q{i}", a=a).with_inputs("q") for i, a in enumerate(["short", "answer", "Yes"])]
    assert _guard(data).judge("Give a short answer, Yes or No.", []).refused == ""


ODD = [
    Example(question=f"Pick the odd word out: {words}", answer=answer).with_inputs("question")
    for words, answer in [
        ("apple, pear, phone, banana", "phone"),
        ("ruler, stapler, loudspeaker, pen", "loudspeaker"),
        ("in, on, at, over, word", "word"),
    ]
]


@pytest.mark.parametrize(
    "text",
    [
        'Find the word that does not belong to the others, such as "phone".',
        "Find the word that is of another kind: a phone is no fruit as an apple or a banana is.",
        "Compare all of them: between ruler and stapler the loudspeaker does not belong.",
    ],
)
def test_a_plain_word_is_a_leak_where_its_example_is_meant(text):
    """A one-word answer counts where it is quoted or stands with other words of its example."""
    assert _guard(ODD).judge(text, []).refused == "leak"


@pytest.mark.parametrize(
    "text",
    [
        "Look at every word in turn and write down the word that does not belong to the others.",
        "Answer with a single word, as you would over the phone.",
        'Write nothing but one "noun" or "verb".',
    ],
)
def test_a_plain_word_by_itself_is_no_leak(text):
    """A word that some example happens to have as its answer may be used."""
    assert _guard(ODD).judge(text, []).refused == ""


BOOKING = [
    Example(utterance=utterance, intent=intent).with_inputs("utterance")
    for utterance, intent in [
        ("book a restaurant for four around Zapata", "book_restaurant"),
        ("find a TV show called Swing High", "search_creative_work"),
        ("play the best of Queen", "play_music"),
        ("is it cold in Rome", "get_weather"),
        ("give five points to this novel", "rate_book"),
    ]
]


@pytest.mark.parametrize(
    "text",
    [
        "Say what is wanted, for example a table for four around Zapata, and nothing else.",
        "You have to find works, such as one called \u2018Swing High\u2019, and to answer with an intent.",
        "Bei \u201egive five points\u201c wird ein Buch bewertet.",
        "Bei \u00bbgive five points\u00ab wird ein Buch bewertet.",
        "Read the request. If someone says 'give five points' then a book is rated.",
    ],
)
def test_a_short_quote_of_an_example_is_a_leak(text):
    """Three words in a row count in quotation marks, or with a name among them."""
    assert _guard(BOOKING).judge(text, []).refused == "leak"


@pytest.mark.parametrize(
    "text",
    [
        "Decide if the speaker wants to find a TV show, book a restaurant for friends or rate a book.",
        "Answer with the intent only, such as 'book_restaurant' or \"play_music\".",
        "Is it about the weather in Rome? Then the intent is get_weather.",
    ],
)
def test_words_that_examples_have_too_are_no_leak(text):
    """Short runs without a name or quotation marks, labels, and a name alone may be used."""
    labels = [f"The intent must be exactly one of: {', '.join(row.intent for row in BOOKING)}."]
    assert _guard(BOOKING, public=labels).judge(text, []).refused == ""


UNSPACED = [
    Example(question=question, answer=answer).with_inputs("question")
    for question, answer in [
        ("一个农夫有十二头牛卖掉了五头还剩下几头牛", "七"),
        ("法国的首都是哪里。", "巴黎"),
        ("长江从哪里发源。", "唐古拉山脉的冰川"),
        ("ชาวนาคนหนึ่งมีวัวสิบสองตัวขายไปห้าตัวเหลือวัวกี่ตัว", "เจ็ด"),
        *((f"第{number}题、请选择正确的答案。", "对") for number in range(20)),
    ]
]


@pytest.mark.parametrize(
    "text",
    [
        "仔细读题。比如一个农夫有十二头牛卖掉了五头还剩下几头牛这样的题要先计算。",
        "อ่านโจทย์ให้ดี เช่น ชาวนาคนหนึ่งมีวัวสิบสองตัวขายไปห้าตัวเหลือวัวกี่ตัว แล้วคำนวณ",
        "回答地名、例如\u300c法国的首都是哪里\u300d要回答城市。",
        "回答地名、例如\u201c法国的首都是哪里\u201d要回答城市。",
        "河流的源头可能是唐古拉山脉的冰川这样的地方。",
    ],
)
def test_what_is_copied_where_words_have_no_blanks_is_a_leak(text):
    """Up to the next comma all is one word, of which eight were never in a row."""
    assert _guard(UNSPACED).judge(text, []).refused == "leak"


@pytest.mark.parametrize(
    "text",
    [
        "请仔细阅读题目、逐步思考、然后给出简短的答案、例如地名或数字。",
        "农夫、牛和首都的题目都要先想清楚再回答。",
        "读第3题、请选择正确的答案、不要解释。",
        "อ่านคำถามให้ดี คิดทีละขั้น แล้วตอบสั้น ๆ",
    ],
)
def test_what_all_write_without_blanks_is_no_leak(text):
    """Nor what many examples share."""
    assert _guard(UNSPACED).judge(text, []).refused == ""


def test_a_word_with_marks_is_one():
    """Of Hindi, where each vowel parted a word, three everyday words in a row were eight."""
    asked = "बताइए कि दिए गए प्रश्न का उत्तर चाँद पर कैसे मिला"
    rows = [Example(q=asked, a=1), *(Example(q=f"संख्या {number} बताइए", a=number) for number in range(30))]
    data = [row.with_inputs("q") for row in rows]
    assert _guard(data).judge("ध्यान से पढ़ें और दिए गए प्रश्न का उत्तर एक शब्द में लिखें।", []).refused == ""
    assert _guard(data).judge(f"{asked}, यह सोचें।", []).refused == "leak"


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize(
    "text", ["Đọc kỹ: viết bài thơ về chị Nguyễn hôm qua.", "Trả lời Tố Hữu nếu cần.", "Nếu là Huế thì nói."]
)
def test_accents_are_the_same_however_they_are_written(text, form):
    """Files of some systems hold them as signs of their own; models write one letter."""
    rows = [("Ai viết bài thơ về chị Nguyễn hôm qua ở chợ", "Tố Hữu"), ("Ở đâu?", "Huế")]
    data = [
        Example(q=unicodedata.normalize(form, q), a=unicodedata.normalize(form, a)).with_inputs("q")
        for q, a in rows
    ]
    assert _guard(data).judge(text, []).refused == "leak"


def test_answers_given_twice_are_no_leak():
    """What several examples answer is a label, not a secret."""
    data = [Example(q=f"q{i}", a="Book Restaurant").with_inputs("q") for i in range(2)]
    assert _guard(data).judge("Say Book Restaurant or something else.", []).refused == ""


@pytest.mark.parametrize(
    "text", ["Say 'lost or stolen card' or another.", "It may be Lost Or Stolen Card, say."]
)
def test_one_label_of_very_many_is_no_leak(text):
    """With 77 labels each belongs to few examples, and no sentence says all of them; it may be named."""
    label = "Lost Or Stolen Card" if "Lost" in text else "lost or stolen card"
    data = [
        Example(q=f"q{i}", a=label if i % 20 == 0 else f"Of Kind {i % 20}").with_inputs("q")
        for i in range(200)
    ]
    assert _guard(data).judge(text, []).refused == ""


@pytest.mark.parametrize("copies", [1, 2, 40])
def test_an_example_given_several_times_is_a_secret_still(copies):
    """A trainset may repeat examples to give them weight; what they share is of one example."""
    data = [Example(q="who wrote this long and old book of all", a="Ada Lovelace").with_inputs("q")] * copies
    guard = _guard([*data, *[Example(q=f"q{i}", a="no").with_inputs("q") for i in range(20)]])
    told = ["Name Ada Lovelace if asked.", "Say who wrote this long and old book of all."]
    assert [guard.judge(text, []).refused for text in told] == ["leak", "leak"]


def test_a_label_of_two_examples_is_no_leak():
    """It is said in quotation marks, as copied words are."""
    labels = [f"of kind {i // 2}" for i in range(40)]
    data = [Example(q=f"q{i}", a=label).with_inputs("q") for i, label in enumerate(labels)]
    assert _guard(data).judge("Say 'of kind 7' or another one.", []).refused == ""


@pytest.mark.parametrize(("sharing", "refused"), [(1, "leak"), (4, "leak"), (5, "")])
def test_more_than_a_tenth_of_the_examples_share_what_is_no_secret(sharing, refused):
    """What four of 40 examples quote is theirs; what five of them have is the form of the task."""
    shared = "the long red train leaves the station at noon"
    rows = [shared if i < sharing else f"word{i}" for i in range(40)]
    data = [Example(q=text, a="x", n=i).with_inputs("q", "n") for i, text in enumerate(rows)]
    assert _guard(data).judge(f"Know that {shared} today.", []).refused == refused


def test_labels_of_a_closed_set_are_no_leak():
    """A label that only one example has may be named if it is known to be one."""
    data = [Example(q=f"q{i}", a=a).with_inputs("q") for i, a in enumerate(["Play Music", "Get Weather"])]
    public = ["The a must be exactly one of: Play Music, Get Weather."]
    assert _guard(data, public=public).judge("Choose Play Music or Get Weather.", []).refused == ""


def test_boilerplate_of_all_examples_is_no_leak():
    """Words that the examples share are the form of the task."""
    text = "Each question reads: which of the following eight things is not like the others"
    data = [
        Example(q=f"Which of the following eight things is not like the others: {i}", a="x").with_inputs("q")
        for i in range(5)
    ]
    assert LeakCheck(Corpus(data)).find(text) == ""


def test_the_original_instruction_is_no_leak():
    """What the user's own instruction says may be said again."""
    data = [Example(q="Never mention prices", a="question never mention prices").with_inputs("q"), *QA]
    assert _guard(data).judge("Reply to the question never mention prices", []).refused == ""


@given(st.text())
def test_any_text_gets_a_verdict(text):
    """No answer of a model breaks the guard."""
    assert _guard(QA, keep=["Answer"], max_tokens=50).judge(text, [ORIGINAL]).refused in {
        "",
        "empty",
        "refusal",
        "echo",
        "too long",
        "leak",
        "duplicate",
    }


class _Person(BaseModel):
    name: str


@pytest.mark.parametrize(
    "text",
    [
        "Know that the tower of the old town was built by the queen before you answer.",
        "Name Grace Hopper wherever you can.",
        "Look for Hypatia in the text.",
    ],
    ids=["passage", "item of an answer", "field of an answer"],
)
def test_what_lists_and_models_hold_is_a_secret_too(text):
    """Passages are given as a list, entities as a list or as models; they were not looked at."""
    row = Example(
        passages=["Short.", "The tower of the old town was built by the queen."],
        people=["Grace Hopper"],
        found=_Person(name="Hypatia"),
    ).with_inputs("passages")
    assert _guard([row]).judge(text, []).refused == "leak"


class _Searched(str):
    """Text that counts how often it is looked through."""

    __slots__ = ()
    times = 0

    def __contains__(self, other):
        _Searched.times += 1
        return super().__contains__(other)


def test_the_examples_are_not_looked_through_for_every_word():
    """A proposal of 300 words took seconds beside 5,000 long examples."""
    corpus = Corpus([Example(q="where is the red house of the king").with_inputs("q")])
    corpus.all = _Searched(corpus.all)
    guard = Guard(ORIGINAL, corpus)
    assert guard.judge(" ".join(f"word{i} of the" for i in range(100)), []).refused == ""
    assert _Searched.times == 0
    assert guard.judge("Say where is the red house of the king.", []).refused == "leak"


@pytest.mark.parametrize("answer", [f"```\n{' ' * 500_000}x", "\u201c" * 500_000, "\u00ab" * 500_000])
def test_an_answer_that_repeats_itself_without_end_is_judged_at_once(answer):
    """Blanks in a fence, or quotation marks that nothing closes, took minutes with all threads waiting."""
    guard = Guard("Answer.", Corpus([Example(q="one", a="two").with_inputs("q")]))
    assert guard.judge(f"Answer the question. {answer}", []).refused == ""
    assert guard.judge(answer, []).refused == "empty"
