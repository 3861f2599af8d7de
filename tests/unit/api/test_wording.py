from collections.abc import Sequence
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from crossmodal.api.wording import came, message_of


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    whole: Annotated[int, Field(ge=1, le=9)] = 1
    number: Annotated[float, Field(gt=0, lt=1)] = 0.5
    flag: bool = False
    word: Annotated[str, Field(min_length=1, max_length=3)] = "a"
    choice: Literal["a", "b"] = "a"
    many: Annotated[list[int], Field(min_length=1, max_length=2)] = [1]
    inner: dict[str, int] = {}


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"whole": 0}, "no less than 1 is allowed; 0 came"),
        ({"whole": 10}, "no more than 9 is allowed; 10 came"),
        ({"whole": "5"}, "a whole number is needed; '5' came"),
        ({"whole": 1.5}, "a whole number is needed; 1.5 came"),
        ({"whole": True}, "a whole number is needed; true came"),
        ({"number": 0.0}, "only more than 0.0 is allowed; 0.0 came"),
        ({"number": 1}, "only less than 1.0 is allowed; 1 came"),
        ({"number": "x" * 50}, "a number is needed; a string came"),
        ({"number": float("nan")}, "a finite number is needed"),
        ({"flag": 1}, "true or false is needed; 1 came"),
        ({"word": ""}, "at least 1 character is needed; 0 came"),
        ({"word": "long"}, "at most 3 characters are allowed; 4 came"),
        ({"word": None}, "a string is needed; null came"),
        ({"choice": "c"}, "'a' or 'b' is needed; 'c' came"),
        ({"choice": {}}, "'a' or 'b' is needed; an object came"),
        ({"many": []}, "at least 1 entry is needed; 0 came"),
        ({"many": [1, 2, 3]}, "at most 2 entries are allowed; 3 came"),
        ({"many": "x"}, "a list is needed; 'x' came"),
        ({"inner": []}, "an object is needed; a list came"),
        ({"other": 1}, "there is no member of this name here"),
    ],
)
def test_what_came_and_what_is_allowed(members: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as raised:
        Model.model_validate(members)
    assert [message_of(error) for error in raised.value.errors()] == [said]


def test_a_member_that_is_missing_and_one_that_checks_itself() -> None:
    assert message_of({"type": "missing", "input": {}, "msg": "Field required"}) == "it is needed and did not come"
    error = {"type": "value_error", "input": "x", "msg": "Value error, a template holds {}"}
    assert message_of(error) == "a template holds {}"


@pytest.mark.parametrize(
    ("value", "said"),
    [("a\nb", "a string"), ("x" * 41, "a string"), (10**20, "a number"), (b"x", "something else"), ((1,), "a list")],
)
def test_what_a_client_sent_comes_back_only_if_it_is_short_and_can_be_printed(value: Sequence[Any], said: str) -> None:
    assert came(value) == said
