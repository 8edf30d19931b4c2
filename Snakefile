"""From raw clips to results/DATASET_METHOD.json. Plain `snakemake --cores 4` builds the `study` of params.yaml; docs/workflow.md is the guide."""

import sys

from snakemake.utils import min_version

from equimodal.engines.ending import say_why
from equimodal.engines.workflow import announce, command_line, registered_engine

min_version("9.27")

PARAMS = command_line(sys.argv)


# Any image with this project installed will do; used only under --software-deployment-method apptainer.
container: "docker://python:3.11"


include: "workflow/rules/declarations.smk"
include: "workflow/rules/preprocess.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/paper.smk"
include: "workflow/rules/tune.smk"


report: "workflow/report/workflow.rst"


onstart:
    registered_engine()
    announce(workflow)


onerror:
    say_why(workflow)


rule study:
    """The results, tables and figures of every dataset and method that `study` lists; in a report, those that are built."""
    default_target: True
    input:
        unpack(study_targets),
