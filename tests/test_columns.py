"""Column roles as the config gives them."""

from typing import Any

import pytest

from feseq.columns import Columns, expand
from feseq.errors import UserError


def config(**changes: Any) -> dict[str, Any]:
    return {
        "label": "y",
        "id": "uid",
        "use": ["basic", "money"],
        "groups": {
            "basic": {"profile": ["country"], "sequences": {"events": "item"}},
            "money": {"numeric": ["price", "f_{2..4}"]},
            "spare": {"numeric": ["age"], "sequences": {"shops": "shop"}},
        },
    } | changes


def test_roles_come_from_the_groups_in_use_in_their_order() -> None:
    columns = Columns.from_config(config(use=["spare", "basic"]))
    assert columns.sequences == ("shops", "events")
    assert columns.targets == ("shop", "item")
    assert columns.numeric == ("age",)
    assert columns.categorical == ("country", "shop", "item")
    assert set(columns.features) == {"country", "shop", "item", "age", "shops", "events"}
    assert columns.group_of["shop"] == "spare"


def test_a_range_is_written_out_where_it_stands() -> None:
    assert expand(["a", "f_{9..11}_x", "b"]) == ["a", "f_9_x", "f_10_x", "f_11_x", "b"]
    assert Columns.from_config(config()).numeric == ("price", "f_2", "f_3", "f_4")


def test_a_range_that_runs_backwards_is_refused() -> None:
    with pytest.raises(UserError, match=r"f_\{4\.\.2\}"):
        expand(["f_{4..2}"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"use": ["basic", "mony"]}, r"no group 'mony'; groups are basic, money, spare"),
        ({"use": ["money"]}, "no group in use has a sequence"),
        ({"label": "price"}, "groups.money: 'price' is the label or the ID"),
        ({"id": "item"}, "groups.basic: 'item' is the label or the ID"),
        ({"use": ["basic", "basic"]}, "group 'basic' is named twice"),
        ({"id": "y"}, "columns.label and columns.id both name 'y'"),
    ],
)
def test_contradicting_roles_are_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Columns.from_config(config(**changes))


@pytest.mark.parametrize(
    "groups",
    [
        {"a": {"sequences": {"events": "item"}, "numeric": ["item"]}},
        {"a": {"sequences": {"events": "item"}, "profile": ["x"], "numeric": ["x"]}},
        {"a": {"sequences": {"events": "item"}, "numeric": ["f_{1..3}", "f_2"]}},
        {"a": {"sequences": {"events": "item", "shops": "item"}}},
        {"a": {"sequences": {"events": "events"}}},
    ],
)
def test_a_column_has_one_role_even_within_a_group(groups: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="second role"):
        Columns.from_config(config(use=["a"], groups=groups))
