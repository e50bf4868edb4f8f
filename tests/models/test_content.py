"""What all kinds share of a trained model."""

from dataclasses import make_dataclass

from tossctr.features.feature_map import FeatureMap
from tossctr.models.trained import About, Model

ABOUT = About({}, FeatureMap([], [], [], [], 1, ""), simulated=False, click_rate=0.5)


def test_what_a_model_learned_is_written_in_the_order_of_its_fields() -> None:
    # In a set, names have another order in each process.
    names = [f"field_{i}" for i in range(20)]
    kind = make_dataclass(
        "TwentyFields", [(name, int) for name in names], bases=(Model,), frozen=True
    )
    assert [*kind(ABOUT, *range(20)).content().items()] == [*zip(names, range(20))]
