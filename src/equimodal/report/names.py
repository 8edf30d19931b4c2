"""Names as papers write them; a dataset or a method that is not here goes by its name in params.yaml."""

from equimodal.report.result import Result

DATASETS = {
    "cremad": "CREMA-D",
    "ks": "Kinetics-Sounds",
    "ucf101": "UCF-101",
    "mosi": "CMU-MOSI",
    "mosi-regression": "CMU-MOSI (regression)",
    "grid-words": "GRID words, -10 dB",
    "grid-words-clean": "GRID words, 0 dB",
    "grid-digit": "GRID digits",
}
METHODS = {
    "joint": "Joint",
    "joint-uni": "Joint + unimodal losses",
    "audio": "Audio only",
    "visual": "Visual only",
    "rgb": "RGB only",
    "flow": "Flow only",
    "text": "Text only",
    "ensemble": "Ensemble",
    "frozen": "Frozen encoders",
    "finetune": "Fine-tuned encoders",
    "late": "Late fusion",
    "g-blending": "G-Blending",
    "ogm": "OGM",
    "ogm-ge": "OGM-GE",
    "greedy": "Greedy",
    "pmr": "PMR",
    "agm": "AGM",
    "mla": "MLA",
    "dr": "D&R",
    "opm": "OPM",
    "opm-ogm": "OPM&OGM",
    "aug": "AUG",
    "mnl": "MNL",
    "mie": "MIE",
    "arm": "ARM",
    "arm-uni": "ARM + unimodal losses",
    "mwam": "MWAM",
    "mmpareto": "MMPareto",
    "inforeg": "InfoReg",
    "inforeg-uni": "InfoReg + unimodal losses",
    "reconboost": "ReconBoost",
    "lfm": "LFM",
    "lfm-heuristic": "LFM, heuristic",
    "dgl": "DGL",
    "shapley-alternating": "Shapley-guided",
    "deep-uni": "Deep unimodal losses",
    "aim": "AIM",
    "aim-means": "AIM, class means",
    "aim-fast": "AIM, fast",
    "aim-no-pam": "AIM w/o PAM",
    "aim-no-dam": "AIM w/o DAM",
    "aim-label": "AIM-label",
    "aim-aux-only": "AIM, auxiliary blocks only",
    "aim-literal": "AIM, literal",
    "aim-unmodulated": "Joint, scored as AIM",
    "aim-e0": "AIM, E = 0 %",
    "aim-e5": "AIM, E = 5 %",
    "aim-e10": "AIM, E = 10 %",
    "aim-e20": "AIM, E = 20 %",
}


def dataset_name(name: str) -> str:
    """CREMA-D for cremad."""
    return DATASETS.get(name, name)


def method_name(name: str) -> str:
    """AIM w/o PAM for aim-no-pam."""
    return METHODS.get(name, name)


def measured_on(result: Result) -> str:
    """The dataset; generated samples under their own name: 'CREMA-D (generated sample)'."""
    return dataset_name(result.dataset) + (" (generated sample)" if result.source == "sample" else "")
