rule paper_table:
    """A table of `studies`: our numbers over seeds, and beside them those that the paper prints."""
    input:
        evaluations=paper("evaluations"),
        curves=paper("curves"),
        operations=paper("operations"),
    output:
        text="results/paper/{study}.md",
        csv="results/paper/{study}.csv",
        tex="results/paper/{study}.tex",
        page=report(
            "results/paper/{study}.html",
            caption="../report/paper.rst",
            category="Paper",
            labels={"study": "{study}"},
        ),
    log:
        "logs/paper/{study}.log",
    benchmark:
        "logs/paper/{study}.tsv"
    resources:
        mem_mb=500,
    params:
        code=code("paper"),
        settings=paper_settings,
    shell:
        "equimodal paper --study {wildcards.study} &> {log}"


rule paper_figure:
    """A figure of `studies`."""
    input:
        evaluations=paper("evaluations"),
        curves=paper("curves"),
        operations=paper("operations"),
        fits=paper("fits"),
    output:
        pdf="results/paper/{study}.pdf",
        png="results/paper/{study}.png",
        figure=report(
            "results/paper/{study}.svg",
            caption="../report/paper.rst",
            category="Paper",
            labels={"study": "{study}"},
        ),
    log:
        "logs/paper/{study}.log",
    benchmark:
        "logs/paper/{study}.tsv"
    resources:
        mem_mb=1000,
    params:
        code=code("paper"),
        settings=paper_settings,
    shell:
        "equimodal paper --study {wildcards.study} &> {log}"
