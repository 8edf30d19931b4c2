rule figures:
    """A result's figures: training curves, and for AIM discriminability, alpha and prototypes by depth."""
    input:
        result="results/{dataset}_{method}.json",
        curves=every_seed("models/{dataset}/{method}/{seed}/curves.json"),
        prototypes=prototype_logs,
    output:
        figures=report(
            directory("results/figures/{dataset}_{method}"),
            patterns=["{figure}.svg"],
            caption="../report/figures.rst",
            category="Figures",
            subcategory="{dataset}",
            labels={"method": "{method}", "figure": "{figure}"},
        ),
    log:
        "logs/figures/{dataset}-{method}.log",
    benchmark:
        "logs/figures/{dataset}-{method}.tsv"
    resources:
        mem_mb=1000,
    params:
        code=code("figures"),
        settings=settings("figures"),
    shell:
        "equimodal figures --dataset {wildcards.dataset} --method {wildcards.method} &> {log}"


rule overview:
    """The study's methods on one dataset side by side."""
    input:
        results=expand("results/{{dataset}}_{method}.json", method=study_methods(PARAMS)),
    output:
        page=report(
            "results/tables/{dataset}.html",
            caption="../report/table.rst",
            category="Tables",
            subcategory="{dataset}",
            labels={"table": "methods compared"},
        ),
        text="results/tables/{dataset}.md",
    log:
        "logs/overview/{dataset}.log",
    benchmark:
        "logs/overview/{dataset}.tsv"
    resources:
        mem_mb=500,
    params:
        code=code("overview"),
        settings=settings("overview"),
    shell:
        "equimodal overview --dataset {wildcards.dataset} &> {log}"


rule tables:
    """The whole study: methods by dataset, and each modality inside each model; drawn from result files alone."""
    input:
        results=expand("results/{dataset}_{method}.json", dataset=PARAMS.study.datasets, method=study_methods(PARAMS)),
    output:
        text="results/tables/{table}.md",
        csv="results/tables/{table}.csv",
        tex="results/tables/{table}.tex",
        page=report(
            "results/tables/{table}.html",
            caption="../report/tables.rst",
            category="Tables",
            subcategory="study",
            labels={"table": "{table}"},
        ),
    log:
        "logs/tables/{table}.log",
    benchmark:
        "logs/tables/{table}.tsv"
    wildcard_constraints:
        table="comparison|modalities",
    resources:
        mem_mb=500,
    params:
        code=code("tables"),
        settings=settings("tables"),
    shell:
        "equimodal tables --table {wildcards.table} &> {log}"


use rule tables as cost_table with:
    input:
        results=expand("results/{dataset}_{method}.json", dataset=PARAMS.study.datasets, method=study_methods(PARAMS)),
        costs=expand(
            "results/cost/{dataset}_{method}.json", dataset=PARAMS.study.datasets, method=study_methods(PARAMS)
        ),
    wildcard_constraints:
        table="cost",
