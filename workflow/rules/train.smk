rule warmup:
    """Joint training up to the epoch where modulation starts; variants with the same start share it."""
    input:
        manifest="data/{dataset}/manifest.json",
        features=features("npy"),
        initial="data/{dataset}/weights.safetensors",
    output:
        start="models/{dataset}/warmup/{seed}/{method}.safetensors",
    log:
        "logs/warmup/{dataset}-{method}-{seed}.log",
    benchmark:
        "logs/warmup/{dataset}-{method}-{seed}.tsv"
    threads: PARAMS.runtime.threads * PARAMS.runtime.devices
    resources:
        gpu=gpus(PARAMS),
        mem_mb=4000,
    params:
        code=code("warmup"),
        settings=settings("warmup"),
    shell:
        "equimodal warmup --dataset {wildcards.dataset} --method {wildcards.method} --seed {wildcards.seed} &> {log}"


rule prototypes:
    """AIM's prototypes and decoupling, fitted on the frozen warm-up; variants with equal settings share a fit."""
    input:
        manifest="data/{dataset}/manifest.json",
        features=features("npy"),
        initial="data/{dataset}/weights.safetensors",
        start=start,
    output:
        fit="models/{dataset}/prototypes/{seed}/{method}.safetensors",
        record="models/{dataset}/prototypes/{seed}/{method}.json",
    log:
        "logs/prototypes/{dataset}-{method}-{seed}.log",
    benchmark:
        "logs/prototypes/{dataset}-{method}-{seed}.tsv"
    threads: PARAMS.runtime.threads * PARAMS.runtime.devices
    resources:
        gpu=gpus(PARAMS),
        mem_mb=4000,
    params:
        code=code("prototypes"),
        settings=settings("prototypes"),
    shell:
        "equimodal prototypes --dataset {wildcards.dataset} --method {wildcards.method} --seed {wildcards.seed} &> {log}"


rule train_from_scratch:
    """Train one method with one seed, from random weights."""
    input:
        manifest="data/{dataset}/manifest.json",
        features=features("npy"),
        initial="data/{dataset}/weights.safetensors",
    output:
        weights=expand("models/{{dataset}}/{{method}}/{{seed}}/{rule}.safetensors", rule=["val", "last", "test"]),
        curves="models/{dataset}/{method}/{seed}/curves.json",
    log:
        "logs/train/{dataset}-{method}-{seed}.log",
    benchmark:
        "logs/train/{dataset}-{method}-{seed}.tsv"
    wildcard_constraints:
        method="|".join(FAMILIES["from-scratch"]),
    threads: PARAMS.runtime.threads * PARAMS.runtime.devices
    resources:
        gpu=gpus(PARAMS),
        mem_mb=4000,
    params:
        code=code("train"),
        settings=settings("train"),
    shell:
        "equimodal train --dataset {wildcards.dataset} --method {wildcards.method} --seed {wildcards.seed} &> {log}"


use rule train_from_scratch as train_from_warmup with:
    input:
        manifest="data/{dataset}/manifest.json",
        features=features("npy"),
        initial="data/{dataset}/weights.safetensors",
        start=start,
        fit=fit,
    wildcard_constraints:
        method="|".join(FAMILIES["from-warmup"]),


rule unimodal:
    """A trained model of one modality, for the methods that start from such models."""
    input:
        weights="models/{dataset}/{method}/{seed}/val.safetensors",
    output:
        weights="models/{dataset}/unimodal/{seed}/{method}.safetensors",
    log:
        "logs/unimodal/{dataset}-{method}-{seed}.log",
    benchmark:
        "logs/unimodal/{dataset}-{method}-{seed}.tsv"
    resources:
        mem_mb=500,
    params:
        code=code("unimodal"),
        settings=settings("unimodal"),
    shell:
        "equimodal unimodal --dataset {wildcards.dataset} --method {wildcards.method} --seed {wildcards.seed} &> {log}"


use rule train_from_scratch as train_from_unimodal with:
    input:
        manifest="data/{dataset}/manifest.json",
        features=features("npy"),
        initial="data/{dataset}/weights.safetensors",
        unimodal=unimodal,
    wildcard_constraints:
        method="|".join(FAMILIES["from-unimodal"]),
