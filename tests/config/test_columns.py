"""Column roles as the config gives them."""

import json
from typing import Any

import pytest

from feseq.common.errors import UserError
from feseq.config.columns import Columns, expand


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


def shop(**roles: Any) -> dict[str, Any]:
    """A config of one group with two sequences and these roles."""
    return config(
        use=["a"], groups={"a": {"sequences": {"events": "item", "shops": "shop"}} | roles}
    )


def test_context_columns_are_categories_behind_profile_and_targets() -> None:
    groups = config()["groups"]
    groups["money"]["context"] = ["ad_{1..2}"]
    columns = Columns.from_config(config(groups=groups))
    assert columns.profile == ("country",)
    assert columns.context == ("ad_1", "ad_2")
    assert columns.categorical == ("country", "item", "ad_1", "ad_2")


def test_numeric_columns_of_any_group_can_be_context_too_and_stay_numeric() -> None:
    groups = config()["groups"]
    groups["basic"]["context"] = ["f_{3..4}", "ad"]
    columns = Columns.from_config(config(groups=groups))
    assert columns.numeric == ("price", "f_2", "f_3", "f_4")
    assert (columns.context, columns.ids) == (("ad",), ("f_3", "f_4"))
    plain = columns.plain("shared", "ids")
    assert plain["ids"] == ("f_3", "f_4")
    # The conversion to H5 is the same without.
    assert "ids" not in columns.plain("label")
    groups["money"]["context"] = ["f_3"]
    with pytest.raises(UserError, match="'f_3' has a second role"):
        Columns.from_config(config(groups=groups))


def test_times_and_shared_sequences_come_from_the_groups_in_use() -> None:
    groups = config()["groups"]
    groups["clock"] = {"times": {"when": "now"}}
    groups["basic"]["share_embedding"] = ["events"]
    columns = Columns.from_config(config(use=["clock", "basic"], groups=groups))
    assert (columns.event_time, columns.row_time) == ("when", "now")
    assert columns.shared == ("events",)
    assert columns.sequences == ("events",)
    assert set(columns.features) == {"country", "item", "events", "when", "now"}
    assert columns.group_of["now"] == "clock"
    without = Columns.from_config(config(use=["basic", "spare"], groups=groups))
    assert (without.event_time, without.row_time) == (None, None)


@pytest.mark.parametrize("names", [["shops", "events"], ["events", "shops", "events"]])
def test_shared_sequences_have_the_order_of_the_sequences(names: list[str]) -> None:
    assert Columns.from_config(shop(share_embedding=names)).shared == ("events", "shops")


NUMBER = {"context": ["n"], "numeric": ["n"]}


@pytest.mark.parametrize(
    "roles",
    [{}, {"times": {"when": "now"}}, {"share_embedding": ["shops"]}, {"context": ["x"]}, NUMBER],
)
def test_roles_survive_json(roles: dict[str, Any]) -> None:
    columns = Columns.from_config(shop(**roles))
    plain = json.loads(json.dumps(columns.plain("label", "id", "shared", "ids")))
    assert Columns.from_values(plain) == columns


def test_a_table_without_times_has_the_plain_roles_it_always_had() -> None:
    plain = Columns.from_config(config()).plain("id", "shared")
    assert set(plain) == {"profile", "numeric", "sequences", "targets", "group_of", "id"}


@pytest.mark.parametrize(
    ("roles", "message"),
    [
        ({"times": {"when": "now", "then": "today"}}, "2 pairs of times, when: now and then: to"),
        ({"times": {"when": "y"}}, "'y' is the label or the ID"),
        ({"times": {"events": "now"}}, "'events' has a second role"),
        ({"times": {"when": "now"}, "numeric": ["now"]}, "'now' has a second role"),
        ({"times": {"when": "when"}}, "'when' has a second role"),
        ({"share_embedding": ["item"]}, r"'item' is none of .* sequences \(events, shops\)"),
        ({"share_embedding": ["x"], "sequences": {}}, r"'x' is none .*\(there are none\)"),
    ],
)
def test_contradicting_times_and_shares_are_refused(roles: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=f"columns.groups.a.*{message}"):
        Columns.from_config(shop(**roles))


def test_two_groups_in_use_may_not_both_have_times() -> None:
    groups = config()["groups"]
    groups["basic"]["times"] = {"when": "now"}
    groups["spare"]["times"] = {"then": "today"}
    assert Columns.from_config(config(groups=groups)).event_time == "when"
    with pytest.raises(UserError, match=r"columns.groups.spare.times: .* when: now and then: to"):
        Columns.from_config(config(use=["basic", "spare"], groups=groups))


def test_a_range_is_written_out_where_it_stands() -> None:
    assert expand(["a", "f_{9..11}_x", "b"]) == ["a", "f_9_x", "f_10_x", "f_11_x", "b"]
    assert Columns.from_config(config()).numeric == ("price", "f_2", "f_3", "f_4")


def test_a_range_that_runs_backwards_is_refused() -> None:
    with pytest.raises(UserError, match=r"f_\{4\.\.2\}"):
        expand(["f_{4..2}"])


def test_a_range_too_long_to_be_meant_is_refused() -> None:
    with pytest.raises(UserError, match=r"f_\{1\.\.9{11}\}' has 99,999,999,999 columns.* 100,000"):
        expand(["f_{1..99999999999}"])


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
        {"a": {"sequences": {"events": "item"}, "profile": ["x"], "context": ["x"]}},
    ],
)
def test_a_column_has_one_role_even_within_a_group(groups: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="second role"):
        Columns.from_config(config(use=["a"], groups=groups))
