rule tune:
    """Settings of one method tried on validation, the same number of runs for every method."""
    input:
        manifest="data/{dataset}/manifest.json",
        features=features("npy"),
        initial="data/{dataset}/weights.safetensors",
    output:
        tuning="results/tuning/{dataset}_{method}.json",
    log:
        "logs/tune/{dataset}-{method}.log",
    benchmark:
        "logs/tune/{dataset}-{method}.tsv"
    wildcard_constraints:
        method="|".join(FAMILIES["from-scratch"]),
    threads: PARAMS.runtime.threads * PARAMS.runtime.devices
    resources:
        gpu=gpus(PARAMS),
        mem_mb=4000,
    params:
        code=code("tune"),
        settings=settings("tune"),
    shell:
        "equimodal tune --dataset {wildcards.dataset} --method {wildcards.method} &> {log}"


use rule tune as tune_from_warmup with:
    input:
        manifest="data/{dataset}/manifest.json",
        features=features("npy"),
        initial="data/{dataset}/weights.safetensors",
        start=tuning_seed(start),
        fit=tuning_seed(fit),
    wildcard_constraints:
        method="|".join(FAMILIES["from-warmup"]),


use rule tune as tune_from_unimodal with:
    input:
        manifest="data/{dataset}/manifest.json",
        features=features("npy"),
        initial="data/{dataset}/weights.safetensors",
        starts=tuning_seed(unimodal),
    wildcard_constraints:
        method="|".join(FAMILIES["from-unimodal"]),
