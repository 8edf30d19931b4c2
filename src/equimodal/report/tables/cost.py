"""What training a method costs beside joint training: a step (operations, time, memory, weights) and the whole run."""

from dataclasses import dataclass
from typing import Any

from equimodal.report.cost_file import Cost
from equimodal.report.document import Document
from equimodal.report.formats.cells import Table
from equimodal.report.result import Result
from equimodal.report.tables.collection import Collection
from equimodal.report.tables.described import dataset_lines, sample_note


@dataclass(frozen=True)
class Row:
    """One method on one dataset; what has no file is None."""

    result: Result | None
    cost: Cost | None
    joint: Result | None

    @property
    def step_flops(self) -> float | None:
        """Operations of one step of the method at the run's batch size."""
        return self.result.flops.training * self.result.settings["training"]["batch_size"] if self.result else None

    @property
    def flops_ratio(self) -> float | None:
        """Operations per sample over joint training's: that of the dataset's joint model, or of the same model when
        there is no result of it.
        """
        if self.result is None:
            return None
        if self.joint is not None:
            return self.result.flops.training / self.joint.flops.training
        return (
            None if len(self.result.imbalance.s) == 1 else self.result.flops.training / self.result.flops.training_joint
        )

    @property
    def beside(self) -> int | None:
        """Weights trained beside the model."""
        return self.cost.weights.beside if self.cost else None

    @property
    def added(self) -> int | None:
        """Weights of the exported model beyond joint's; negative for a model of one modality."""
        if self.result is not None and self.joint is not None:
            return self.result.parameters.total - self.joint.parameters.total
        return self.cost.weights.model - self.cost.weights.joint if self.cost else None


def document(collection: Collection) -> Document:
    """results/tables/cost.*"""
    note = sample_note(collection)
    rows = {dataset: _rows(collection, dataset) for dataset in collection.datasets}
    costs = [cost for dataset in collection.datasets for cost in collection.costs_on(dataset).values()]
    lines = [
        "FLOPs, ops, time and memory: of one training step, the mean over a method's cycle of steps, at the start of"
        " its own training."
        " FLOPs: convolutions and matrix products, two per multiply-add; x joint: over joint training on the same"
        " data; GFLOP: of a whole batch. They do not depend on a machine."
        " Ops: operations of torch that compute (no views), whatever their size.",
        *_machine_lines(costs),
        "Weights beside: trained with the model and not exported."
        " Weights added: the exported model's beyond the joint model's.",
        *dataset_lines(collection),
        *([note] if note else []),
    ]
    tables = [(dataset, _table(found)) for dataset, found in rows.items()]
    records = [_record(dataset, method, row) for dataset, found in rows.items() for method, row in found.items()]
    return Document("Cost of training", lines, note, tables, records)


def _machine_lines(costs: list[Cost]) -> list[str]:
    if not costs:
        return ["Time and memory were not measured: results/cost/DATASET_METHOD.json has them."]
    lines = [
        "Time: median over rounds of the method's steps over joint's, taken in turns in one process [quartiles];"
        " joint's own row shows the error of the measurement. Memory: peak of a step.",
        "Run x joint: the whole run's time over joint training's, put together from measured pieces: the warm-up's"
        " epochs as joint's, the prototypes stage, the other epochs, each with its steps, feeding them, measuring"
        " the model and saving the state, and the runs of one modality that it starts from. Starting commands, reading"
        " data and writing the best weights are left out. As trained: what the stages themselves took here, over the"
        " same run of joint training; it holds what a method does in some epochs only. State: written every epoch; x"
        " model's: over the exported model.",
    ]
    if fits := [cost.run.fit.measured for cost in costs if cost.run.fit is not None]:
        said = {"stage": "what that stage took on this machine", "again": "the same fit once more"}
        lines.append(
            "Prototypes stage: of the study's first seed, "
            + ", ".join(f"{said[how]} ({fits.count(how)})" for how in dict.fromkeys(fits))
            + "."
        )
    if unknown := [f"{cost.dataset} {cost.method}" for cost in costs if cost.run.seconds is None]:
        lines.append(f"– without a trained warm-up to measure the fit on: {', '.join(unknown)}.")
    for machine in dict.fromkeys(str(cost.machine) for cost in costs):
        here = [cost for cost in costs if str(cost.machine) == machine]
        clocks = "processor seconds" if here[0].time.clock == "processor" else "wall seconds"
        how = "bytes of living tensors" if here[0].memory.how == "tensors" else "torch.cuda.max_memory_allocated"
        which = ", ".join(dict.fromkeys(cost.dataset for cost in here))
        lines.append(f"Measured on: {machine} ({which}); {clocks}; {how}.")
    return lines


def _rows(collection: Collection, dataset: str) -> dict[str, Row]:
    results, costs = collection.on(dataset), collection.costs_on(dataset)
    joint = collection.everything_on(dataset).get("joint")
    return {
        method: Row(results.get(method), costs.get(method), joint)
        for method in collection.methods
        if method in results or method in costs
    }


def _table(rows: dict[str, Row]) -> Table:
    heads = [
        "method",
        "FLOPs x joint",
        "GFLOP per step",
        "time x joint",
        "seconds per step",
        "memory x joint",
        "MiB",
        "ops a step",
        "run x joint",
        "as trained",
        "prototypes stage / joint run",
        "state MB (x model's)",
        "weights beside",
        "weights added",
    ]
    body = []
    for method, row in rows.items():
        cells = [method, _number(row.flops_ratio, ".2f"), _number(row.step_flops and row.step_flops / 1e9, ".3g")]
        if row.cost is None:
            cells += ["–"] * 9
        else:
            time, memory = row.cost.time, row.cost.memory
            cells += [f"{time.ratio:.2f} [{time.quartiles[0]:.2f}, {time.quartiles[1]:.2f}]", f"{time.seconds:.3g}"]
            cells += [f"{memory.peak / memory.peak_joint:.2f}", f"{memory.peak / 2**20:.1f}"]
            run, epoch = row.cost.run, row.cost.epoch
            cells += [f"{row.cost.operations:,.0f}", _number(run.ratio, ".2f"), _number(run.trained_ratio, ".2f")]
            cells.append(_number(run.fit_ratio, ".2f"))
            cells += [f"{epoch.state_bytes / 1e6:.3g} ({epoch.state_bytes / epoch.model_bytes:.1f})"]
        body.append([*cells, _number(row.beside, ",d"), _number(row.added, "+,d")])
    return heads, body


def _number(value: float | None, form: str) -> str:
    if value is None:
        return "–"
    return "0" if value == 0 and form.endswith("d") else format(value, form)


def _record(dataset: str, method: str, row: Row) -> dict[str, Any]:
    found = row.result or row.cost
    assert found is not None
    cost = row.cost
    low, high = cost.time.quartiles if cost else (None, None)
    return {
        "dataset": dataset,
        "method": method,
        "source": found.source,
        "flops_ratio": row.flops_ratio,
        "flops_step": row.step_flops,
        "time_ratio": cost.time.ratio if cost else None,
        "time_ratio_low": low,
        "time_ratio_high": high,
        "seconds": cost.time.seconds if cost else None,
        "seconds_joint": cost.time.seconds_joint if cost else None,
        "peak_bytes": cost.memory.peak if cost else None,
        "peak_bytes_joint": cost.memory.peak_joint if cost else None,
        "operations_step": cost.operations if cost else None,
        "run_ratio": cost.run.ratio if cost else None,
        "run_seconds": cost.run.seconds if cost else None,
        "run_seconds_joint": cost.run.seconds_joint if cost else None,
        "trained_ratio": cost.run.trained_ratio if cost else None,
        "trained_seconds": cost.run.trained if cost else None,
        "prototypes_ratio": cost.run.fit_ratio if cost else None,
        "seconds_feed": cost.epoch.seconds_feed if cost else None,
        "seconds_evaluate": cost.epoch.seconds_evaluate if cost else None,
        "seconds_save": cost.epoch.seconds_save if cost else None,
        "state_bytes": cost.epoch.state_bytes if cost else None,
        "model_bytes": cost.epoch.model_bytes if cost else None,
        "weights_beside": row.beside,
        "weights_added": row.added,
        "machine": str(cost.machine) if cost else None,
    }
