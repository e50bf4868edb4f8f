"""Damaged and hostile files: a clear error or the right result, never a wrong one.

`pytest -s tests/predict/test_integrity.py` prints how each flipped byte was met.
"""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from feseq.common.errors import UserError
from feseq.dataset.store import H5Table
from feseq.evaluate.validation import predict_validation
from feseq.predict.model_file import TrainedModel
from feseq.predict.part import predict_part
from feseq.predict.submission import write_submission
from support.raw_tables import raw_table, to_test_h5, to_train_h5
from support.trainings import train

pytestmark = pytest.mark.workflow

FLIPS = 100
# Of the places, each, or every fourth.
EVERY = pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.slow)])


def read_all(path: Path) -> dict[str, Any]:
    """All that the workflow ever reads of an H5 file."""
    with H5Table(path) as table:
        words = {name: table.vocabulary(name) for name in table.categorical_columns}
        block = table.read(0, table.rows)
        return {
            "columns": (table.numeric_columns, table.categorical_columns, table.sequence_columns),
            "source": table.source,
            "words": words,
            "sequences": {n: (r.values.tolist(), r.offsets.tolist())
                          for n, r in block.sequences.items()},
            **{name: getattr(block, name).tobytes() for name in ("numeric", "categorical", "row")},
            **{name: None if (part := getattr(block, name)) is None else part.tobytes()
               for name in ("label", "id")},
        }  # fmt: skip


def read_model(path: Path) -> dict[str, Any]:
    model = TrainedModel.load(path)
    weights = {name: value.numpy().tobytes() for name, value in model.network.state_dict().items()}
    return {"config": model.config, "map": model.feature_map, "weights": weights,
            "simulated": model.simulated}  # fmt: skip


def flip_each(path: Path, read: Callable[[Path], Any], every: int, seed: int = 0) -> Counter[str]:
    """Flip one byte at each of some places; how `read` met it. Fails on a wrong result."""
    whole, expected = path.read_bytes(), read(path)
    random = np.random.default_rng(seed)
    met: Counter[str] = Counter()
    # Places all over the file, and each in the crowded first and last few KiB.
    places = {*random.integers(0, len(whole), FLIPS // 2).tolist()}
    places |= {*random.integers(0, min(4096, len(whole)), FLIPS // 4).tolist()}
    places |= {len(whole) - 1 - i for i in random.integers(0, min(4096, len(whole)), FLIPS // 4)}
    changes = [(place, int(random.integers(1, 256))) for place in sorted(places)]
    for place, change in changes[::every]:
        damaged = bytearray(whole)
        damaged[place] ^= change
        path.write_bytes(damaged)
        try:
            found = read(path)
        except UserError as error:
            message = str(error)
            assert str(path) in message
            assert "delete it and run the same command again" in message
            is_sum = re.search("checksum|fletcher|CRC", message, re.IGNORECASE)
            met["checksum" if is_sum else "structure"] += 1
            continue
        assert found == expected, f"byte {place} of {len(whole)}"
        met["harmless"] += 1
    path.write_bytes(whole)
    print(f"{path.name}: {sum(met.values())} flips in {len(whole):,} bytes: {dict(met)}")
    return met


@EVERY
def test_a_flipped_byte_of_an_h5_file_is_found_or_harmless(every: int, tmp_path: Path) -> None:
    train, valid = to_train_h5(tmp_path, raw_table(1000), valid_rows=range(100))
    for h5 in (train, valid, to_test_h5(tmp_path, raw_table(1000))):
        met = flip_each(h5, read_all, every)
        assert met["checksum"] + met["structure"] > 15 // every


@EVERY
def test_a_flipped_byte_of_a_model_is_found_or_harmless(
    every: int, data: Path, tmp_path: Path
) -> None:
    met = flip_each(train(data, tmp_path)["model"], read_model, every)
    assert met["checksum"] > 30 // every


@EVERY
def test_a_flipped_byte_of_predictions_never_reaches_a_submission(
    every: int, data: Path, tmp_path: Path
) -> None:
    model = train(data, tmp_path)["model"]
    path = tmp_path / "part000.parquet"
    predict_part(model, data / "test.h5", path)

    def submit(path: Path) -> str:
        written = tmp_path / "submission.csv"
        write_submission([path], None, written, id_column="ID", label_column="y", models=[model])
        return written.read_text()

    met = flip_each(path, submit, every)
    assert met["checksum"] + met["structure"] > 30 // every


def refused(path: Path, message: str) -> None:
    with pytest.raises(UserError, match=message) as held:
        read_all(path)
    # And let go of, also while the error is held.
    with h5py.File(path, "w"):
        assert held.value


def test_an_h5_file_cannot_declare_more_than_it_holds_or_lead_elsewhere(tmp_path: Path) -> None:
    def spoiled(spoil: Callable[[h5py.File], None]) -> Path:
        path = to_test_h5(tmp_path, raw_table())
        with h5py.File(path, "r+") as file:
            spoil(file)
        return path

    def declare_rows(file: h5py.File) -> None:
        file.attrs.update(rows=2**40, stretches=f"[[{2**40}, 0]]")
        for name in ("numeric", "categorical", "row", "id"):
            file[name].resize(2**40, axis=0)
        file["sequence/events/offsets"].resize(2**40 + 1, axis=0)

    def set_stretches(stretches: str, file: h5py.File) -> None:
        file.attrs["stretches"] = stretches

    def pack(file: h5py.File) -> None:
        del file["row"]
        file.create_dataset("row", data=np.zeros(120, np.int64), compression="gzip")

    def lead_elsewhere(file: h5py.File) -> None:
        (tmp_path / "secret").write_bytes(bytes(120 * 8))
        del file["row"]
        file.create_dataset("row", (120,), np.int64, external=[(tmp_path / "secret", 0, 960)])

    def lead_outside(file: h5py.File) -> None:
        file["sequence/events/offsets"][3] = 10**6

    def unknown_code(file: h5py.File) -> None:
        file["categorical"][5, 0] = 200

    def many_words(file: h5py.File) -> None:
        del file["vocabulary/item"]
        file.create_dataset("vocabulary/item", (2**40,), h5py.string_dtype(), chunks=(1024,))

    def group_for_data(file: h5py.File) -> None:
        del file["row"]
        file.create_group("row")

    def signed_codes(file: h5py.File) -> None:
        codes = file["categorical"][:].astype(np.int8)
        del file["categorical"]
        file.create_dataset("categorical", data=codes, chunks=True, fletcher32=True)

    refused(spoiled(many_words), "vocabularies hold fewer bytes than they declare")
    refused(spoiled(group_for_data), "not a complete H5 file")
    refused(spoiled(signed_codes), "categorical has type int8")
    refused(spoiled(lambda file: file.attrs.update(rows=np.inf)), "not a complete H5 file")
    refused(spoiled(lambda file: file.attrs.update(source="[]")), "not a complete H5 file")
    for stretches, wrong in (
        ("[[100, 9]]", "other than 120 rows"),
        ("[]", "other than 120 rows"),
        ("[[120, 121]]", "121 of 120"),
    ):
        refused(spoiled(partial(set_stretches, stretches)), wrong)
    refused(spoiled(declare_rows), "holds fewer bytes than it declares")
    refused(spoiled(pack), "row is not stored with a checksum alone")
    refused(spoiled(lead_elsewhere), "row is not stored with a checksum alone")
    refused(spoiled(lead_outside), "offsets of 'events' lead outside")
    refused(spoiled(unknown_code), "codes are not in their vocabularies")
    with (
        H5Table(spoiled(unknown_code)) as table,
        pytest.raises(UserError, match="codes are not in their vocabularies"),
    ):
        table.column("categorical")


def test_files_that_do_not_belong_together_are_refused(data: Path, tmp_path: Path) -> None:
    model = TrainedModel.load(train(data, tmp_path)["model"])
    (tmp_path / "shop").mkdir()
    other, _ = to_train_h5(tmp_path / "shop", raw_table())
    with pytest.raises(UserError, match="lacks 5 columns that the features need"):
        model.source(other)
    strange = replace(model.feature_map, fitted_on="another draw")
    replace(model, feature_map=strange).save(tmp_path / "strange")
    with pytest.raises(UserError, match="not made from the same rows"):
        predict_validation(tmp_path / "strange", data / "valid.h5", *(tmp_path / n for n in "ps"))
    folder = tmp_path / "mixed"
    folder.mkdir()
    for name in ("train.h5", "valid.h5"):
        (folder / name).write_bytes((data / name).read_bytes())
    strange.write(folder / "feature_map.json")
    with pytest.raises(UserError, match="the feature map were not made from the same rows"):
        train(folder, tmp_path / "out")
