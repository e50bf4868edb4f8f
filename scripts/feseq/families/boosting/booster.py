"""XGBoost's file of a booster (UBJ, as XGBoost writes it), checked before XGBoost reads it.

XGBoost takes its indices for right, and reads or writes beyond its arrays where they are not.
"""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import xgboost

from .features import Features

# The types of numbers in UBJ.
_NUMBERS = {b"d": ">f4", b"i": "i1", b"U": "u1", b"I": ">i2", b"l": ">i4", b"L": ">i8"}


def load_booster(content: bytes, features: Features) -> xgboost.Booster:
    """The booster in a file's content, to predict on one thread of the CPU.

    Raises ValueError, TypeError or KeyError for one that was not grown on these features.
    """
    file = io.BytesIO(content)
    _check(_read(file)["learner"], features)
    if file.read():
        raise ValueError("a booster goes on behind its end")
    booster = xgboost.Booster()
    booster.load_model(bytearray(content))
    # Blocks are predicted in parallel.
    booster.set_param({"nthread": 1, "device": "cpu"})
    return booster


def _check(learner: Mapping[str, Any], features: Features) -> None:
    types = [type_ for _, type_ in features.columns()]
    booster, shape = learner["gradient_booster"], learner["learner_model_param"]
    model = booster["model"]
    count = len(model["trees"])
    actual = {
        "types": (booster["name"], learner["objective"]["name"], learner["feature_types"]),
        "outputs": (shape["num_class"], shape["num_target"], shape["num_feature"]),
        "trees": (count > 0, model["gbtree_model_param"]["num_trees"], *model["iteration_indptr"]),
        "groups": [*model["tree_info"]],
        "encodings": [len(each) for each in model["cats"].values()],
    }
    expected = {
        "types": ("gbtree", "binary:logistic", types),
        "outputs": ("0", "1", str(len(types))),
        "trees": (True, str(count), *range(count + 1)),
        "groups": [0] * count,
        "encodings": [0] * len(model["cats"]),
    }
    if wrong := [name for name in expected if actual[name] != expected[name]]:
        raise ValueError(f"a booster has other {wrong[0]} than its features give")
    largest = np.full(len(types), -1)
    for column, category in features.most_categories().items():
        largest[column] = category
    for number, tree in enumerate(model["trees"]):
        if not _is_sound(tree, largest):
            raise ValueError(f"tree {number} has indices beyond its arrays")


def _is_sound(tree: Mapping[str, Any], largest: np.ndarray) -> bool:
    """True for a tree whose nodes, features and categories are all there.

    `largest` [columns] has the largest category of each feature, -1 for a quantity.
    """

    def integers(name: str) -> np.ndarray:
        return np.asarray(tree[name], np.int64)

    left, right, parents = map(integers, ("left_children", "right_children", "parents"))
    split, is_category = integers("split_indices"), integers("split_type")
    node, inner = np.arange(len(left)), np.flatnonzero(left != -1)
    if not len(left) == len(right) == len(parents) == len(split) == len(is_category) > 0:
        return False
    children = np.concatenate([left[inner], right[inner]])
    first, size, codes = (integers(f"categories{end}") for end in ("_segments", "_sizes", ""))
    return bool(
        tree["tree_param"]["size_leaf_vector"] == "1"
        # Each node but the root is a child once, so no path ends nowhere or goes round.
        and np.array_equal(right != -1, left != -1)
        and np.array_equal(np.sort(children), node[1:])
        and np.array_equal(parents[children], np.tile(inner, 2))
        and ((split >= 0) & (split < len(largest))).all()
        and np.array_equal(integers("categories_nodes"), np.flatnonzero(is_category))
        and len(first) == len(size) == np.count_nonzero(is_category)
        and ((size >= 0) & (size <= len(codes))).all()
        and np.array_equal(first, np.cumsum(size) - size)
        and size.sum() == len(codes)
        and ((codes >= 0) & (codes <= np.repeat(largest[split[is_category != 0]], size))).all()
    )


def _read(file: io.BytesIO, kind: bytes = b"") -> Any:
    """The next value: objects as dicts, arrays of numbers as NumPy's; or a ValueError."""
    kind = kind or file.read(1)
    if kind in _NUMBERS:
        return _numbers(file, kind, 1).tolist()[0]
    if kind == b"S":
        return _taken(file, _length(file)).decode()
    fields: dict[str, Any] = {}
    if kind == b"{":
        while (mark := file.read(1)) != b"}":
            name = _taken(file, _length(file, mark)).decode()
            if name in fields:
                raise ValueError(f"a booster has {name!r} twice")
            fields[name] = _read(file)
        return fields
    if kind != b"[":
        raise ValueError("a booster is not in the form UBJ")
    mark = file.read(1)
    type_ = b""
    if mark == b"$":
        type_, mark = file.read(1), file.read(1)
    if mark != b"#":
        raise ValueError("a booster has an array without length")
    length = _length(file)
    return _numbers(file, type_, length) if type_ else [_read(file) for _ in range(length)]


def _numbers(file: io.BytesIO, kind: bytes, count: int) -> np.ndarray:
    type_ = np.dtype(_NUMBERS[kind])
    return np.frombuffer(_taken(file, count * type_.itemsize), type_)


def _length(file: io.BytesIO, mark: bytes = b"") -> int:
    """A length, which is a number of the type L."""
    if (mark or file.read(1)) != b"L":
        raise ValueError("a booster has a length of another type")
    return int.from_bytes(_taken(file, 8), "big", signed=True)


def _taken(file: io.BytesIO, size: int) -> bytes:
    """The next bytes, if there are so many."""
    taken = file.read(max(0, size))
    if len(taken) != size:
        raise ValueError("a booster ends early")
    return taken
