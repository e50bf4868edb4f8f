"""Write what a network looks at in the validation rows, as means of its attention."""

from pathlib import Path

from entry import run_script
from feseq.common.files import Output, write_json
from feseq.config.runtime import Runtime
from feseq.family.model import family_in, load_model


def main(
    *,
    model: Path,
    valid: list[Path],
    runtime: Runtime,
    threads: int,
    full_name: str = "",
    attention: Output,
) -> None:
    loaded = load_model(model, full_name, runtime=runtime, threads=threads)
    write_json(attention, family_in(model).verb("attention")(loaded, valid))


if __name__ == "__main__":
    run_script(main)
