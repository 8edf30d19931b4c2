rule evaluate:
    """Accuracy, per-modality readouts, imbalance and cost of one trained model."""
    input:
        manifest="data/{dataset}/manifest.json",
        features=features("npy"),
        initial="data/{dataset}/weights.safetensors",
        weights=expand("models/{{dataset}}/{{method}}/{{seed}}/{rule}.safetensors", rule=["val", "last", "test"]),
        curves="models/{dataset}/{method}/{seed}/curves.json",
    output:
        evaluation="models/{dataset}/{method}/{seed}/evaluation.json",
        predictions="models/{dataset}/{method}/{seed}/predictions.parquet",
    log:
        "logs/evaluate/{dataset}-{method}-{seed}.log",
    benchmark:
        "logs/evaluate/{dataset}-{method}-{seed}.tsv"
    threads: PARAMS.runtime.threads
    resources:
        mem_mb=4000,
    params:
        code=code("evaluate"),
        settings=settings("evaluate"),
    shell:
        "equimodal evaluate --dataset {wildcards.dataset} --method {wildcards.method} --seed {wildcards.seed} &> {log}"


rule operations:
    """Operations of a method's training step, counted without computing; the same for all seeds."""
    input:
        manifest="data/{dataset}/manifest.json",
        features=features("npy"),
        initial="data/{dataset}/weights.safetensors",
    output:
        operations="models/{dataset}/{method}/operations.json",
    log:
        "logs/operations/{dataset}-{method}.log",
    benchmark:
        "logs/operations/{dataset}-{method}.tsv"
    threads: PARAMS.runtime.threads
    resources:
        mem_mb=4000,
    params:
        code=code("operations"),
        settings=settings("operations"),
    shell:
        "equimodal operations --dataset {wildcards.dataset} --method {wildcards.method} &> {log}"


rule summary:
    """The result: mean, spread and 95 % interval over the study's seeds, for each selection rule."""
    input:
        manifest="data/{dataset}/manifest.json",
        evaluations=every_seed("models/{dataset}/{method}/{seed}/evaluation.json"),
        curves=every_seed("models/{dataset}/{method}/{seed}/curves.json"),
        operations="models/{dataset}/{method}/operations.json",
    output:
        result=report(
            "results/{dataset}_{method}.json",
            caption="../report/result.rst",
            category="Results",
            subcategory="{dataset}",
            labels={"method": "{method}", "file": "all numbers"},
        ),
        digest="results/digests/{dataset}_{method}.txt",
    log:
        "logs/summary/{dataset}-{method}.log",
    benchmark:
        "logs/summary/{dataset}-{method}.tsv"
    resources:
        mem_mb=500,
    params:
        code=code("summary"),
        settings=settings("summary"),
    shell:
        "equimodal summary --dataset {wildcards.dataset} --method {wildcards.method} &> {log}"


rule reference:
    """Joint training alone, which the cost of every method refers to; differs from machine to machine, so it is apart from the results."""
    input:
        manifest="data/{dataset}/manifest.json",
        features=features("npy"),
        initial="data/{dataset}/weights.safetensors",
    output:
        reference="results/cost/reference/{dataset}.json",
    log:
        "logs/reference/{dataset}.log",
    benchmark:
        "logs/reference/{dataset}.tsv"
    threads: PARAMS.runtime.threads
    resources:
        gpu=gpus(PARAMS),
        mem_mb=4000,
    params:
        code=code("reference"),
        settings=settings("reference"),
    shell:
        "equimodal reference --dataset {wildcards.dataset} &> {log}"


rule cost:
    """What training a method costs beside joint training, a step and a whole run; apart from the results, too."""
    input:
        manifest="data/{dataset}/manifest.json",
        features=features("npy"),
        initial="data/{dataset}/weights.safetensors",
        reference="results/cost/reference/{dataset}.json",
        trained=first_seed(curves),
    output:
        cost="results/cost/{dataset}_{method}.json",
    log:
        "logs/cost/{dataset}-{method}.log",
    benchmark:
        "logs/cost/{dataset}-{method}.tsv"
    wildcard_constraints:
        method="|".join(FAMILIES["from-scratch"] + FAMILIES["from-unimodal"]),
    threads: PARAMS.runtime.threads
    resources:
        gpu=gpus(PARAMS),
        mem_mb=4000,
    params:
        code=code("cost"),
        settings=settings("cost"),
    shell:
        "equimodal cost --dataset {wildcards.dataset} --method {wildcards.method} &> {log}"


use rule cost as cost_from_warmup with:
    input:
        manifest="data/{dataset}/manifest.json",
        features=features("npy"),
        initial="data/{dataset}/weights.safetensors",
        reference="results/cost/reference/{dataset}.json",
        start=first_seed(start),
        fit=first_seed(fit),
        trained=first_seed(curves),
    wildcard_constraints:
        method="|".join(FAMILIES["from-warmup"]),
