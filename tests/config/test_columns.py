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


def shop(**roles: Any) -> dict[str, Any]:
    """A config of one group with two sequences and these roles."""
    return config(
        use=["a"], groups={"a": {"sequences": {"events": "item", "shops": "shop"}} | roles}
    )


def test_roles_come_from_the_groups_in_use_in_their_order() -> None:
    columns = Columns.from_config(config(use=["spare", "basic"]))
    assert columns.sequences == ("shops", "events")
    assert columns.targets == ("shop", "item")
    assert columns.numeric == ("age",)
    assert columns.categorical == ("country", "shop", "item")
    assert set(columns.features) == {"country", "shop", "item", "age", "shops", "events"}
    assert columns.group_of["shop"] == "spare"
    without_sequence = Columns.from_config(config(use=["money"]))
    assert without_sequence.sequences == without_sequence.targets == without_sequence.ragged == ()
    assert without_sequence.features == ("price", "f_2", "f_3", "f_4")


def test_numeric_columns_of_any_group_can_be_context_too_and_stay_numeric() -> None:
    groups = config()["groups"]
    groups["basic"]["context"] = ["f_{3..4}", "ad"]
    columns = Columns.from_config(config(groups=groups))
    assert columns.numeric == ("price", "f_2", "f_3", "f_4")
    assert columns.categorical == ("country", "item", "ad")
    assert (columns.context, columns.ids) == (("ad",), ("f_3", "f_4"))


def test_times_and_shared_sequences_come_from_the_groups_in_use() -> None:
    groups = config()["groups"]
    groups["clock"] = {"times": {"when": "now"}}
    groups["basic"]["share_embedding"] = ["events"]
    columns = Columns.from_config(config(use=["clock", "basic"], groups=groups))
    assert (columns.event_time, columns.row_time) == ("when", "now")
    assert columns.shared == columns.sequences == ("events",)
    without = Columns.from_config(config(use=["basic", "spare"], groups=groups))
    assert (without.event_time, without.row_time) == (None, None)
    # In the order of the sequences.
    both = Columns.from_config(shop(share_embedding=["shops", "events"]))
    assert both.shared == ("events", "shops")


@pytest.mark.parametrize(
    "roles",
    [{}, {"times": {"when": "now"}}, {"share_embedding": ["shops"]}, {"context": ["x"]}],
)
def test_roles_survive_json(roles: dict[str, Any]) -> None:
    columns = Columns.from_config(shop(**roles))
    plain = json.loads(json.dumps(columns.plain("label", "id", "shared", "ids")))
    assert Columns.from_values(plain) == columns


def test_a_range_is_written_out_where_it_stands() -> None:
    assert expand(["a", "f_{9..11}_x", "b"]) == ["a", "f_9_x", "f_10_x", "f_11_x", "b"]
    assert expand(["{08..10}", "f{0..1}"]) == ["08", "09", "10", "f0", "f1"]


REFUSED: list[tuple[dict[str, Any], str]] = [
    (config(use=["basic", "mony"]), "mony"),
    (config(use=["empty"], groups={"empty": {}}), "use.*no column"),
    (config(use=["a"], groups={"a": {"profile": ["x"], "times": {"when": "now"}}}), "sequence"),
    (config(label="price"), "price"),
    (config(id="item"), "item"),
    (config(id="y"), "y"),
    (shop(times={"when": "now", "then": "today"}), "then"),
    (shop(times={"events": "now"}), "events"),
    (shop(times={"when": "now"}, numeric=["now"]), "now"),
    (shop(times={"when": "when"}), "when"),
    (shop(share_embedding=["item"]), "item"),
    (shop(numeric=["item"]), "item"),
    (shop(numeric=["f_{1..3}", "f_2"]), "f_2"),
    (shop(numeric=["f_{1..99999999999}"]), r"f_\{1\.\.9+\}"),
    (shop(profile=["x"], numeric=["x"]), "x"),
    (shop(profile=["x"], context=["x"]), "x"),
    (shop(sequences={"events": "item", "shops": "item"}), "item"),
    (shop(sequences={"events": "events"}), "events"),
]


@pytest.mark.parametrize(("config", "named"), REFUSED)
def test_contradicting_roles_are_refused_by_name(config: dict[str, Any], named: str) -> None:
    with pytest.raises(UserError, match=rf"^columns.*\b{named}"):
        Columns.from_config(config)
