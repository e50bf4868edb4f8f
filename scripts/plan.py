"""Print what a target needs: which steps are stale and why, their rows, and how long they take.

By hand: python scripts/plan.py results/submission_full.csv --configfile mine.yaml
All arguments are Snakemake's. Like `snakemake -n`, it runs nothing.
"""

import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from snakemake import api, cli
from snakemake.exceptions import print_exception
from snakemake.io import apply_wildcards
from snakemake.settings.enums import Quietness
from snakemake.settings.types import (
    ConfigSettings,
    DAGSettings,
    DeploymentSettings,
    OutputSettings,
    ResourceSettings,
)

from feseq.catalog import submission_weights
from feseq.estimate import expected_rows, raw_rows
from feseq.plan import WAIT, Step, changes, files, merge_shards, table
from feseq.settings import locate_raw


def main(arguments: list[str]) -> bool:
    """Print the plan; False, after Snakemake's own message, if there is none."""
    try:
        _, args = cli.parse_args(["--dry-run", *arguments])
    except Exception as error:
        print_exception(error)
        return False
    # With these two, a dry run ends where the jobs and their reasons are known.
    quiet = {Quietness.RULES, Quietness.PROGRESS}
    with api.SnakemakeApi(OutputSettings(dryrun=True, quiet=quiet, nocolor=args.nocolor)) as door:
        logging.disable(logging.INFO)
        try:
            workflow = _resolve(door, args)
            print(table(merge_shards(_steps(workflow))))
        except Exception as error:
            door.print_exception(error)
            return False
    return True


def _resolve(door: api.SnakemakeApi, args: Any) -> Any:
    """The workflow with its jobs resolved for the targets, as these arguments say."""
    workflow_api = door.workflow(
        resource_settings=ResourceSettings(cores=1, resources=args.resources),
        config_settings=ConfigSettings(
            config=cli.parse_config(args.config),
            configfiles=args.configfile,
            config_args=args.config,
            replace_workflow_config=args.replace_workflow_config,
        ),
        deployment_settings=DeploymentSettings(
            deployment_method=args.software_deployment_method, conda_prefix=args.conda_prefix
        ),
        snakefile=args.snakefile,
        workdir=args.directory,
    )
    settings = DAGSettings(
        targets=args.targets,
        forcetargets=args.force,
        forceall=args.forceall,
        forcerun=args.forcerun,
        until=args.until,
        omit_from=args.omit_from,
        force_incomplete=args.rerun_incomplete,
        rerun_triggers=args.rerun_triggers,
        max_checksum_file_size=args.max_checksum_file_size,
    )
    workflow_api.dag(settings).execute_workflow(executor="dryrun")
    # The jobs and the parts of their reasons; the log events of a dry run have prose instead.
    return workflow_api._workflow


def _steps(workflow: Any) -> Iterator[Step]:
    """The steps in an order in which they could run."""
    config = workflow.config
    raw = raw_rows(config, locate_raw(config["raw"]))
    for level in workflow.dag.toposorted():
        for job in sorted(level, key=lambda job: (job.rule.name, list(map(str, job.output)))):
            if any(file.flags.get("checkpoint_target") for file in job.input):
                yield from _predictions(workflow, job, raw)
            if job.rule.norun:
                continue
            rule, wildcards = job.rule.name, dict(job.wildcards.items())
            reasons = _reasons(workflow.dag.reason(job)) if workflow.dag.needrun(job) else ()
            runs = ((Path(job.output[0]), Path(job.benchmark)),) if job.benchmark else None
            rows = expected_rows(config, raw, rule, wildcards)
            yield Step(rule, wildcards, tuple(reasons), rows, runs)


def _predictions(workflow: Any, submit: Any, raw: dict[str, int]) -> Iterator[Step]:
    """The predictions for a submission whose shards are not known yet, with those of earlier."""
    size = submit.wildcards["size"]
    for model in submission_weights(workflow.config, size):
        wildcards = {"size": size, "model": model}
        pattern = workflow.get_rule("predict").output[0]
        output = Path(apply_wildcards(pattern, {**wildcards, "shard": "*"}))
        found = sorted(output.parent.glob(output.name))
        runs = [(path, path.with_suffix(".benchmark.tsv")) for path in found]
        rows = expected_rows(workflow.config, raw, "predict", wildcards)
        yield Step("predict", wildcards, (WAIT,), rows, tuple(runs))


def _reasons(reason: Any) -> list[str]:
    """Why a job has to run, in few words; its inputs only where nothing else is known."""
    found = ["forced"] if reason.forced else []
    if reason.params_changed:
        found += changes(reason.params_changed.only_old, reason.params_changed.only_new)
    found += ["environment changed"] if reason.software_stack_changed else []
    found += ["script changed"] if reason.code_changed else []
    found += ["other input files"] if reason.input_changed else []
    found += files("missing", reason.missing_output)
    found += files("half written", reason.incomplete_output)
    inputs = {*reason.updated_input, *reason.updated_input_run}
    return found or files("input", inputs) or ["Snakemake: " + str(reason)]


if __name__ == "__main__":
    sys.exit(0 if main(sys.argv[1:]) else 1)
