rule raw:
    """Raw files of a dataset: generated (sample), checked (local) or fetched (download)."""
    output:
        manifest="data/{dataset}/raw/manifest.json",
    log:
        "logs/raw/{dataset}.log",
    benchmark:
        "logs/raw/{dataset}.tsv"
    resources:
        mem_mb=1500,
    params:
        code=code("raw"),
        settings=settings("raw"),
    shell:
        "equimodal raw --dataset {wildcards.dataset} &> {log}"


rule index:
    """Samples with label, group and split; unreadable files set aside with the reason."""
    input:
        raw="data/{dataset}/raw/manifest.json",
    output:
        index="data/{dataset}/index.json",
    log:
        "logs/index/{dataset}.log",
    benchmark:
        "logs/index/{dataset}.tsv"
    resources:
        mem_mb=1500,
    params:
        code=code("index"),
        settings=settings("index"),
    shell:
        "equimodal index --dataset {wildcards.dataset} &> {log}"


rule features:
    """One modality of every sample as an array: spectrogram, frames or flow."""
    input:
        # The media themselves: their sizes and checksums are in the raw manifest.
        raw="data/{dataset}/raw/manifest.json",
        index="data/{dataset}/index.json",
    output:
        array="data/{dataset}/features/{modality}.npy",
        record="data/{dataset}/features/{modality}.json",
    log:
        "logs/features/{dataset}-{modality}.log",
    benchmark:
        "logs/features/{dataset}-{modality}.tsv"
    threads: PARAMS.runtime.workers
    resources:
        mem_mb=1500,
    params:
        code=code("features"),
        settings=settings("features"),
    shell:
        "equimodal features --dataset {wildcards.dataset} --modality {wildcards.modality} &> {log}"


rule manifest:
    """The training set: which rows of which arrays, labels, splits, digests."""
    input:
        index="data/{dataset}/index.json",
        records=features("json"),
    output:
        manifest="data/{dataset}/manifest.json",
    log:
        "logs/manifest/{dataset}.log",
    benchmark:
        "logs/manifest/{dataset}.tsv"
    resources:
        mem_mb=500,
    params:
        code=code("manifest"),
        settings=settings("manifest"),
    shell:
        "equimodal manifest --dataset {wildcards.dataset} &> {log}"


rule weights:
    """Weights that the encoders start from, checked (model.weights); without a tensor where they start from random numbers."""
    input:
        file=weights_file,
    output:
        weights="data/{dataset}/weights.safetensors",
    log:
        "logs/weights/{dataset}.log",
    benchmark:
        "logs/weights/{dataset}.tsv"
    resources:
        mem_mb=1000,
    params:
        code=code("weights"),
        settings=settings("weights"),
    shell:
        "equimodal weights --dataset {wildcards.dataset} &> {log}"
