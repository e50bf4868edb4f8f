"""The data page and the summary say what the facts of the data are."""

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feseq.common.files import write_json
from feseq.describe.alarms import Alarm, read_alarms, warn_of
from feseq.describe.checks import alarms_of
from feseq.report.data_page import PLOTS, write_data_page
from feseq.report.page import alarms_text, literal, markdown_table, write_page
from support.facts import facts_of, plain_facts
from support.raw_tables import raw_table

ALARM = Alarm("Column age alone predicts the clicks", "Take it out of columns.groups")


def page_of(folder: Path, *alarms: Alarm, **given: object) -> str:
    plots = [folder / f"plots/{name}.svg" for name in PLOTS]
    files = folder / "data.md", folder / "data.html"
    write_data_page(plain_facts("age", **given), alarms, plots, *files)
    return (folder / "data.md").read_text()


def test_the_page_starts_with_its_alarms_and_says_what_the_facts_say(tmp_path: Path) -> None:
    assert "## Alarms\n\nNone." in page_of(tmp_path)
    page = page_of(tmp_path, ALARM)
    assert page.index("SIMULATED") < page.index("## Alarms") < page.index("## Rows")
    assert f"- **{ALARM.text}.** {ALARM.advice}.\n" in page
    assert re.findall(r"!\[\w+\]\((.*)\)", page) == [f"plots/{name}.svg" for name in PLOTS]
    assert re.findall(r"^\| (age \d+) \| levels \|", page, re.M) == [f"age {i}" for i in range(40)]
    for figures in (
        r"\| train \| 90,000 \| 1,800 \| 2 % \| 45,000 \|",
        r"\| valid .*\| 0\.501 \(chance\) \|",
        r"\| test .*\| 0\.950 \(age 9 0\.400\) \|",
        r"\| train \| 400\.0 \| 12,345 \| 7\.69 % \| 40 % \|",
        r"88\.9 % .*\b0\.0525 %.* age 0\.",
        r"0\.995 .*: age 1, age 2\.",
    ):
        assert re.search(figures, page), figures


def test_without_a_test_table_the_page_says_nothing_of_it(tmp_path: Path) -> None:
    facts = facts_of(tmp_path, raw_table(200), None)
    plots = [tmp_path / f"plots/{name}.svg" for name in PLOTS]
    assert not [alarm for alarm in alarms_of(facts, ["minmax"]) if "test" in alarm.text]
    write_data_page(facts, [], plots, tmp_path / "data.md", tmp_path / "data.html")
    page = (tmp_path / "data.md").read_text()
    assert re.findall(r"^[|-].*\btest\b.*", page, re.M) == []


def test_the_page_is_also_one_html_file_of_text_alone(tmp_path: Path) -> None:
    (tmp_path / "a.svg").write_text("<svg/>")
    text = "# A <b>\n\n![a](a.svg) [b](c/b.md) [c](https://c.org/c.md)\n\n| a | b |\n|---|---|\n"
    write_page(text + "| <script>1</script> | `<i>` |\n", tmp_path / "a.md", tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text()
    assert 'src="data:image/svg+xml;base64,PHN2Zy8+"' in page
    assert 'href="c/b.html"' in page
    assert 'href="https://c.org/c.md"' in page
    assert page.count("<td>") == 2
    assert not any(tag in page for tag in ("<b>", "<script>", "<i>"))
    assert (tmp_path / "a.md").read_text().startswith(text)


MARKS = st.sampled_from(
    [*"\\`*_{}[]()<>#+-.!|&~$:;\"'\n\r\t \x00ax1", "](", "<b>", "&lt;", "![", "__"]
)


def without_blanks(text: str) -> str:
    """HTML does not keep all of them."""
    return "".join(text.split())


@given(st.lists(MARKS, min_size=1, max_size=12).map("".join))
def test_names_of_columns_stand_in_the_page_as_they_are(name: str) -> None:
    with TemporaryDirectory() as folder:
        view = Path(folder, "a.html")
        parts = ["# A", markdown_table(pd.DataFrame({"a": [name], "b": ["1"]}))]
        parts += [f"- of {literal(name)}, too", alarms_text([Alarm(f"Column {name}", "Correct")])]
        write_page("\n\n".join(parts), Path(folder, "a.md"), view)
        page = view.read_text()
    main = ElementTree.fromstring(page[page.index("<main") : page.rindex("</html>")])
    name = "".join(c if c.isprintable() else repr(c)[1:-1] for c in name)
    cells, lines = (
        [without_blanks("".join(part.itertext())) for part in main.iter(kind)]
        for kind in ("td", "li")
    )
    assert cells == [without_blanks(name), "1"]
    expected = f"of {name}, too", f"Column {name}. Correct."
    assert lines == list(map(without_blanks, expected))
    kinds = "main h1 div table thead tbody tr th td ul li p strong"
    assert {found.tag for found in main.iter()} <= {*kinds.split()}


def test_alarms_are_read_and_logged_with_what_to_do(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_json(tmp_path / "data.json", {"alarms": [vars(ALARM)]})
    alarms = read_alarms(tmp_path / "data.json")
    assert alarms == [ALARM]
    warn_of(alarms, Path("results/full/data.md"))
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    for text in (ALARM.text, ALARM.advice, "results/full/data.md"):
        assert text in record.getMessage()
