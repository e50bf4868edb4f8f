# The last file, which knows all rules: a mistyped target is told with the one that is like it.
import re
from itertools import product

from feseq.common.errors import nearest


def known_targets(target):
    """Rules and files to ask for, of sizes and models of the config, or models that `target` names."""
    models = {model for size in config["sizes"] for model in submission_models(config, size)}
    models |= {part for part in target.split("/") if is_model(part)}
    values = {
        "size": [*config["sizes"]],
        "model": sorted(models),
        "name": sorted({*models, BLEND, *BASELINES}),
        "baseline": BASELINES,
    }
    for each in workflow.rules:
        if not each.has_wildcards():
            yield each.name
        for output in each.output:
            names = sorted(output.get_wildcard_names())
            if values.keys() >= {*names}:
                for chosen in product(*(values[name] for name in names)):
                    yield str(output.apply_wildcards(dict(zip(names, chosen))))


def with_hint(record):
    """Add to Snakemake's error that no rule makes a target; a filter of its log.

    While rules are read, Snakemake does not yet say what the call asks for.
    """
    missing = re.search(r"No rule to produce (\S+) \(", str(record.msg))
    if missing and (meant := nearest(missing[1], [*known_targets(missing[1])])):
        record.msg = f"{record.msg}\nDid you mean {meant}?"
    return True


if workflow.is_main_process:
    logger.addFilter(with_hint)
