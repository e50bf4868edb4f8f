"""Odd and damaged inputs: each must end well, or in a clear error.

    python benchmarks/fuzz.py --minutes 20 --seed 1
    python benchmarks/fuzz.py --seed 1 --case 4711

Makes parquet tables, damaged parquet files, sample submissions and configs at random and gives
them to the library as the scripts do. A case ends well if its results equal a plain reading of the
input. A UserError is a clear error. All else is a finding: another exception, another result, the
end of the process, or silence for 30 seconds. `--case` repeats one, with its traceback.
"""

import argparse
import csv
import io
import math
import multiprocessing
import resource
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import count, pairwise
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import data
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml
from fuzz_inputs import TEXTS, mutated, mutated_config, write_table

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "scripts"))

from feseq.common.errors import UserError
from feseq.config.catalog import model_mistakes, model_settings
from feseq.config.check import checked_config
from feseq.config.columns import Columns
from feseq.config.model import ModelConfig
from feseq.config.sampling import Sampling
from feseq.config.train import TrainConfig
from feseq.dataset.batches import BatchSource
from feseq.dataset.conversion import convert_test
from feseq.dataset.feature_map import fit_feature_map
from feseq.dataset.list_test import list_test
from feseq.dataset.store import H5Table
from feseq.model.build import build_model
from feseq.predict.submission import write_submission
from feseq.raw.parts import read_parts
from feseq.raw.reading import open_parquet

CONFIG_TEXT = (REPOSITORY / "config/config.yaml").read_text()
CONFIG = yaml.safe_load(CONFIG_TEXT)
COLUMNS = Columns("y", "uid", ("country",), ("price",), ("events",), ("item",), {})
SILENCE_S, START_S = 30, 300
# A case that asks for more than any of these files can need fails, rather than the machine.
MEMORY_BYTES = 12 << 30


def _stored(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Without the types that a parquet file may have only by its note of Arrow's schema.

    And without time zones, which Python need not know.
    """
    if pa.types.is_duration(column.type) or pa.types.is_timestamp(column.type):
        return column.cast(pa.int64())
    return column.cast(pa.string()) if pa.types.is_string_view(column.type) else column


def compare(h5: Path, table: pa.Table | None, columns: Columns) -> list[int]:
    """Row numbers of an H5 file, whose values must be those of `table`, plainly read."""
    with H5Table(h5) as stored:
        block = stored.read(0, stored.rows)
    if table is None:
        return block.row.tolist()
    raw = {name: _stored(table[name]).take(block.row).to_pylist() for name in columns.features}
    for name in columns.ragged:
        values, bounds = block.sequences[name].values.tolist(), block.sequences[name].offsets
        plain = [[int(token) for token in text.split(",")] if text else [] for text in raw[name]]
        assert [values[a:b] for a, b in pairwise(bounds)] == plain, f"other values of {name}"
    for name, found in zip(columns.numeric, block.numeric.T):
        with np.errstate(over="ignore"):
            floats = [np.float32(math.nan if v is None else float(v)) for v in raw[name]]
        same = np.allclose(found, floats, rtol=1e-6, atol=0, equal_nan=True)
        assert same, f"other values of {name}"
    for name, codes in zip(columns.categorical, block.categorical.T.tolist()):
        words = [None if value != value else value for value in raw[name]]
        pairs = set(zip(words, codes))
        assert len(pairs) == len(set(words)) == len(set(codes)), f"other categories of {name}"
        missing = [(word is None) == (code == 0) for word, code in pairs]
        assert all(missing), f"{name}: missing and code 0 are not the same"
    return block.row.tolist()


def train(raw: Path, table: pa.Table | None, columns: Columns) -> None:
    """Sampling to one batch through a small model."""
    parts = raw.parent / "train.h5", raw.parent / "valid.h5"
    sampling = Sampling(valid_share=0.25, seed=1)
    data.convert(raw, raw.parent, columns, sampling, threads=1)
    rows = [row for part in parts for row in compare(part, table, columns)]
    assert sorted(rows) == list(range(open_parquet(raw).rows)), "rows are lost or doubled"
    fields = fit_feature_map(parts[0], columns, 1)
    plain = model_settings(CONFIG, "toy", "len100")["model_config"]
    small = {"max_len": 4, "heads": 1, "time_buckets": 9, "times": columns.event_time is not None}
    source = BatchSource(parts[0], fields, max_len=4, batch_rows=16)
    with source.table, torch.inference_mode():
        batch = next(source.shuffled(seed=1, epoch=0))
        logit = build_model(ModelConfig(**plain | small), fields).eval()(batch)
    assert logit.shape == batch.row_B.shape, "another number of logits than rows"
    assert logit.isfinite().all(), "logits are not finite"


def test(raw: Path, table: pa.Table | None, columns: Columns) -> None:
    """The test file with its IDs."""
    h5 = raw.parent / "test.h5"
    list_test(raw, columns, raw.parent / "parts.json", rows=10**9)
    convert_test(raw, columns, h5, part=read_parts(raw.parent / "parts.json")[0])
    rows = compare(h5, table, columns)
    assert rows == list(range(pq.read_metadata(raw).num_rows)), "rows are lost or doubled"
    with H5Table(h5) as stored:
        ids = [word.decode() for word in stored.read(0, stored.rows).id]
    assert len(set(ids)) == len(ids), "IDs are doubled"
    if table is not None and pa.types.is_string(table.schema.field("uid").type):
        assert ids == table["uid"].to_pylist(), "other IDs"


def pipeline(raw: Path, table: pa.Table | None, random: Random) -> None:
    """The file as train and as test file; raises the first refusal after both are through."""
    columns = replace(COLUMNS, shared=random.choice([(), ("events",)]))
    if random.random() < 0.5:
        columns = replace(columns, event_time="times", row_time="when")
    refusals = []
    for stage in (train, test):
        try:
            stage(raw, table, columns)
        except UserError as refusal:
            refusals.append(refusal)
        assert not list(raw.parent.glob(".*")), "temporary files are left"
    for refusal in refusals:
        assert str(raw) in str(refusal), f"the file is not named: {refusal}"
        raise refusal


def odd_table(random: Random, folder: Path) -> None:
    table = write_table(folder / "raw.parquet", random, random.choice([0, 0.05, 0.1, 0.3]))
    pipeline(folder / "raw.parquet", table, random)


def damaged_parquet(random: Random, folder: Path) -> None:
    raw = folder / "raw.parquet"
    write_table(raw, random, 0.02)
    raw.write_bytes(mutated(raw.read_bytes(), random, most=2))
    pipeline(raw, None, random)


def sample_csv(random: Random, folder: Path) -> None:
    """A sample submission of some make, often damaged, beside predictions in two parts."""
    ids = [*random.sample(TEXTS, random.randint(1, 9)), *map("U{}".format, range(30))]
    given = {name: float(np.float32(random.gauss(-4, 3))) for name in ids}
    parts = [folder / "0.parquet", folder / "1.parquet"]
    middle = random.randint(0, len(ids))
    for path, names in zip(parts, (ids[:middle], ids[middle:])):
        logit = pa.array([given[name] for name in names], pa.float32())
        pq.write_table(pa.table({"id": pa.array(names, pa.string()), "logit": logit}), path)
    random.shuffle(ids)
    text = io.StringIO()
    delimiter = random.choice(",,,,;\t")
    header = random.choice([["ID", "clicked"]] * 8 + [["id", "clicked"], ["ID", "ID"], []])
    writer = csv.writer(text, quoting=csv.QUOTE_ALL, delimiter=delimiter)
    writer.writerows([header, *((name, 0) for name in ids)])
    encoding = random.choice(["utf-8"] * 4 + ["utf-8-sig", "utf-16"])
    data = text.getvalue().encode(encoding)
    is_sound = delimiter == "," and header == ["ID", "clicked"] and encoding != "utf-16"
    if random.random() < 0.7:
        data, is_sound = mutated(data, random, most=2), False
    sample, written = folder / "sample.csv", folder / "submission.csv"
    sample.write_bytes(data)
    try:
        write_submission(parts, sample, written, id_column="ID", label_column="clicked")
    except UserError as refusal:
        if is_sound or str(sample) not in str(refusal) or written.exists():
            raise AssertionError(f"refused without reason or name: {refusal}") from None
        raise
    with open(written, newline="", encoding="utf-8") as file:
        first, *rows = csv.reader(file, strict=True)
    assert first == ["ID", "clicked"], "another header"
    assert len(rows) == len(given), "another number of rows"
    for name, value in rows:
        expected = 1 / (1 + math.exp(-given[name]))
        assert math.isclose(float(value), expected, rel_tol=1e-6), "other values"


def checked(config: Any) -> None:
    """Whatever passes as a config must be one that the rules and scripts can use."""
    config = checked_config(config)
    columns = Columns.from_config(config["columns"])
    for size, settings in config["sizes"].items():
        names = [f"len{max_len}" for max_len in settings["max_len"]]
        names += [f"{names[0]}-{variant}" for variant in config["variants"]]
        for name in names:
            if any(model_mistakes(config, columns, size, name)):
                assert name not in settings["submission_models"], "a mistake was let through"
                continue
            made = model_settings(config, size, name)
            ModelConfig(**made["model_config"]).width(len(columns.sequences + columns.profile))
            TrainConfig(**made["train_config"])


def odd_config(random: Random, _: Path) -> None:
    checked(mutated_config(CONFIG, random))


def config_text(random: Random, _: Path) -> None:
    text = mutated(CONFIG_TEXT.encode(), random, most=2).decode("utf-8", "replace")
    try:
        config = yaml.safe_load(text)
    except Exception as error:  # Snakemake reports it.
        raise UserError(f"no YAML: {error}") from None
    if not isinstance(config, dict):  # This too.
        raise UserError("no mapping")
    checked(config)


KINDS = [odd_table, damaged_parquet, sample_csv, odd_config, config_text]


def run_case(seed: int, number: int) -> None:
    with TemporaryDirectory() as folder:
        KINDS[number % len(KINDS)](Random(f"{seed} {number}"), Path(folder))


def work(seed: int, first: int, reports: Connection) -> None:
    """In a process of its own: report what became of each case, from `first` on."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    torch.set_num_threads(1)
    for number in count(first):
        outcome, text = "succeeded", ""
        try:
            run_case(seed, number)
        except UserError:
            outcome = "refused"
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            outcome = "finding"
            text = f"{place.filename}:{place.lineno}: {type(error).__name__}: {str(error)[:400]}"
        reports.send((number, outcome, text))


def fuzz(seed: int, minutes: float) -> dict[Callable[..., None], Counter[str]]:
    """Case after case for some minutes; what became of them, by kind."""
    tallies: dict[Callable[..., None], Counter[str]] = {kind: Counter() for kind in KINDS}
    end, number = time.monotonic() + 60 * minutes, 0
    spawn = multiprocessing.get_context("spawn")
    while time.monotonic() < end:
        reports, sender = spawn.Pipe(duplex=False)
        process = spawn.Process(target=work, args=(seed, number, sender), daemon=True)
        process.start()
        sender.close()
        # The first cases of a process compile.
        fresh, is_alive = number + 20, True
        while is_alive and time.monotonic() < end:
            outcome, text = "finding", "no answer"
            try:
                is_alive = reports.poll(START_S if number < fresh else SILENCE_S)
                if is_alive:
                    number, outcome, text = reports.recv()
            except EOFError:
                process.join()
                is_alive, text = False, f"the process ended with {process.exitcode}"
            kind = KINDS[number % len(KINDS)]
            tallies[kind][outcome] += 1
            if outcome == "finding":
                print(f"FINDING seed {seed}, case {number} ({kind.__name__}): {text}", flush=True)
            number += 1
        process.kill()
        process.join()
    return tallies


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--case", type=int, help="run this case alone, in this process")
    options = parser.parse_args()
    if options.case is not None:
        run_case(options.seed, options.case)
        return
    tallies = fuzz(options.seed, options.minutes)
    print("| kind | cases | succeeded | refused with a clear error | findings |")
    print("|---|---|---|---|---|")
    for kind, tally in tallies.items():
        counts = " | ".join(f"{tally[key]:,}" for key in ("succeeded", "refused", "finding"))
        print(f"| {kind.__name__} | {tally.total():,} | {counts} |")
    sys.exit(any(tally["finding"] for tally in tallies.values()))


if __name__ == "__main__":
    main()
