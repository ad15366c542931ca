"""Records: fields, inputs and labels, equality, predictions and completions."""

import copy
import pickle

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mipro.errors import UserError
from mipro.example import Completions, Example, Prediction


def test_fields_are_read_as_attributes_and_as_keys():
    """Both ways read and write the same field."""
    row = Example(question="Q", answer="A")
    row.answer = "B"
    row["extra"] = 1
    assert (row.question, row["answer"], row.get("missing", 0), row.extra) == ("Q", "B", 0, 1)
    assert row.keys() == ["question", "answer", "extra"]


def test_a_missing_field_is_an_attribute_error_that_names_the_fields():
    """The message says what there is."""
    with pytest.raises(AttributeError, match=r"'b'.*fields: \['a'\]"):
        _ = Example(a=1).b


def test_given_fields_win_over_those_of_the_base():
    """A base is copied first, then the fields are set."""
    assert Example({"a": 1, "b": 2}, b=3).toDict() == {"a": 1, "b": 3}
    assert Example(Example(a=1).with_inputs("a"), b=2).inputs().toDict() == {"a": 1}


def test_a_base_that_is_no_record_is_refused():
    """A string, for instance, has no fields."""
    with pytest.raises(UserError, match="must be a mapping or an Example, but got str"):
        Example("question")


def test_names_of_fields_are_texts():
    """A record with numbers as names could not even be shown."""
    with pytest.raises(UserError, match=r"fields must have texts as names, but got \[0, 'a'\]"):
        Example({0: "x", "a": 1})


def test_a_key_that_is_no_text_is_absent():
    """A prediction is asked for by number where a program still takes it for a list."""
    row = Example(question="1 + 1?")
    with pytest.raises(KeyError, match="0"):
        row[0]
    with pytest.raises(KeyError, match="0"):
        row.without(0)
    assert row.get(0, "none") == "none"
    with pytest.raises(UserError, match="text as its name, but got 0"):
        row[0] = "2"


@pytest.mark.parametrize("keys", [["question"], ("question", "hint")])
def test_inputs_are_named_one_by_one(keys):
    """A list was a bare TypeError, and a tuple was kept as the name of a field."""
    with pytest.raises(UserError, match=r"a list of names is passed as with_inputs\(\*names\)"):
        Example(question="x", hint="y").with_inputs(keys)


def test_a_field_may_be_called_base():
    """It is given in a mapping, as the message says; copies may change it."""
    with pytest.raises(UserError, match=r"pass a mapping, as in Example\(\{'base': ...\}\)"):
        Example(base="metre", unit="cm")
    row = Example({"base": "metre"}).with_inputs("base")
    assert row.copy(base="foot").inputs().toDict() == {"base": "foot"}
    assert row.base == "metre"


def test_a_name_that_python_spells_in_another_way_is_the_same():
    """In programs the accent becomes a part of its letter, in data it stays; both are one field."""
    decomposed = "cafe\N{COMBINING ACUTE ACCENT}"
    row = Example({decomposed: 1, "x": 2}).with_inputs("café")
    assert row.inputs().toDict() == {decomposed: 1}
    assert (row.café, row["café"], row.get("café"), "café" in row) == (1, 1, 1, True)
    row.café = 3
    assert row.toDict() == Example({decomposed: 1, "x": 2}, café=3).toDict() == {decomposed: 3, "x": 2}
    assert row.copy(café=4).without("café").toDict() == {"x": 2}


def test_inputs_and_labels_split_the_fields():
    """Every field is in one of them, and the example itself is not changed."""
    row = Example(question="Q", hint="H", answer="A")
    split = row.with_inputs("question", "hint")
    assert split.inputs().toDict() == {"question": "Q", "hint": "H"}
    assert split.labels().toDict() == {"answer": "A"}
    with pytest.raises(UserError, match="Inputs have not been set"):
        row.inputs()


def test_an_example_can_be_given_as_keyword_arguments():
    """`program(**example.inputs())` works."""
    assert dict(**Example(q=1, a=2).with_inputs("q").inputs()) == {"q": 1}


def test_without_and_copy_leave_the_original():
    """They return changed copies, inputs kept."""
    row = Example(a=1, b=2).with_inputs("a")
    assert row.without("b").toDict() == {"a": 1}
    assert row.copy(b=3).with_inputs("a").labels().toDict() == {"b": 3}
    assert row.toDict() == {"a": 1, "b": 2}


def test_bookkeeping_fields_are_not_counted_or_listed():
    """Fields that begin with dspy_ are kept, but not shown."""
    row = Example(a=1, dspy_uuid="x")
    assert (len(row), row.keys(), row.values(), row.dspy_uuid) == (1, ["a"], [1], "x")
    assert row.keys(include_dspy=True) == ["a", "dspy_uuid"]


def test_to_dict_goes_into_what_is_nested():
    """Records, models, lists and dicts become plain; a class stays one."""

    class Model(pydantic.BaseModel):
        x: int

    row = Example(rows=[Example(a=1)], model=Model(x=2), by={"k": Example(b=3)}, kind=Model)
    assert row.toDict() == {"rows": [{"a": 1}], "model": {"x": 2}, "by": {"k": {"b": 3}}, "kind": Model}


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=4,
)


@given(st.dictionaries(st.text(max_size=3), VALUES, max_size=3))
def test_equal_examples_have_equal_hashes(fields):
    """Also where a value is a list or a dict."""
    first, second = Example(fields), Example(copy.deepcopy(fields))
    assert first == second
    assert hash(first) == hash(second)


def test_records_are_copied_and_pickled():
    """Attribute access does not get in the way."""
    row = Example(a=[1]).with_inputs("a")
    deep = copy.deepcopy(row)
    deep.a.append(2)
    assert row.a == [1]
    assert pickle.loads(pickle.dumps(row)) == row


def test_a_prediction_with_a_score_computes_like_a_number():
    """It computes and compares, also from the right, and is rounded and formatted."""
    low, high = Prediction(score=0.25), Prediction(score=0.5)
    assert (high - low, 1 - low, low - 1) == (0.25, 0.75, -0.75)
    assert (high * low, 100 * low, low * 100) == (0.125, 25.0, 25.0)
    assert (round(low, 1), round(high / low), f"{low:.1%}", f"{high:>6.2f}") == (0.2, 2, "25.0%", "  0.50")
    assert f"{low}" == str(low)
    assert (low + high, 1 + low, low + 1, sum([low, high])) == (0.75, 1.25, 1.25, 0.75)
    assert (high / low, 1 / low, low / 2) == (2.0, 4.0, 0.125)
    assert low < high
    assert high >= 0.5
    assert not low > 1
    assert low <= Prediction(score=0.25)
    assert float(high) == 0.5


def test_a_prediction_without_a_score_is_no_number():
    """The message names the fields there are."""
    with pytest.raises(UserError, match=r"field `score` is a number; fields: \['answer'\]"):
        float(Prediction(answer="A"))
    with pytest.raises(TypeError, match="got str"):
        _ = Prediction(score=1) + "1"


def test_a_number_is_no_field():
    """As of the tuple that an evaluation returned in earlier versions of DSPy: a plain KeyError."""
    with pytest.raises(KeyError):
        Prediction(score=1.0)[1]


def test_predictions_are_equal_by_their_fields():
    """As examples are, and hashable."""
    assert Prediction(a=1) == Prediction(a=1) == Example(a=1)
    assert len({Prediction(a=1), Prediction(a=1)}) == 1


def test_the_fields_of_a_prediction_are_those_of_the_first_completion():
    """The others are in `completions`, by index and by field."""
    prediction = Prediction.from_completions([{"a": 1, "b": "x"}, {"a": 2, "b": "y"}])
    assert prediction.toDict() == {"a": 1, "b": "x"}
    assert prediction.completions.a == prediction.completions["a"] == [1, 2]
    assert prediction.completions[1].b == "y"
    assert len(prediction.completions) == 2
    assert "a" in prediction.completions
    assert "(1 completions omitted)" in repr(prediction)


def test_completions_end_a_loop_over_them():
    """An index past the last is an IndexError, so that they can be iterated."""
    assert [c.a for c in Completions({"a": [1, 2]})] == [1, 2]


def test_completions_with_different_fields_are_refused():
    """All have the same fields."""
    with pytest.raises(UserError, match="same length"):
        Completions([{"a": 1}, {"a": 2, "b": 3}])
    with pytest.raises(UserError, match=r"same length, 2, but got \{'a': 1, 'b': 1\}"):
        Prediction.from_completions([{"a": 1}, {"b": 2}])
    with pytest.raises(UserError, match="must be a list"):
        Completions({"a": 1})


def test_usage_and_notes_are_no_fields():
    """They are kept beside the fields."""
    prediction = Prediction(a=1)
    prediction.set_lm_usage({"m": {"total_tokens": 3}})
    prediction.get_metadata()["adapter"] = "ChatAdapter"
    assert prediction.get_lm_usage() == {"m": {"total_tokens": 3}}
    assert prediction.toDict() == {"a": 1}


def test_attributes_can_be_deleted():
    """A field, but nothing that is not there."""
    row = Example(a=1, b=2)
    del row.a
    del row["b"]
    assert len(row) == 0
    with pytest.raises(AttributeError):
        del row.c
