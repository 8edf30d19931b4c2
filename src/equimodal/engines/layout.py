"""Where the stages' files lie, relative to the project's root. The engines' rules name the same paths."""

from pathlib import Path


def raw_manifest_path(dataset: str) -> Path:
    """What raw files there are, with their sizes."""
    return Path("data") / dataset / "raw" / "manifest.json"


def index_path(dataset: str) -> Path:
    """The dataset's samples: label, group, split, paths of their media."""
    return Path("data") / dataset / "index.json"


def feature_paths(dataset: str, modality: str) -> tuple[Path, Path]:
    """One modality's rows (.npy), and what is known of them (.json)."""
    folder = Path("data") / dataset / "features"
    return folder / f"{modality}.npy", folder / f"{modality}.json"


def manifest_path(dataset: str) -> Path:
    """The dataset as training sees it: samples, labels, splits, arrays with digests."""
    return Path("data") / dataset / "manifest.json"


def weights_path(dataset: str) -> Path:
    """Weights that the dataset's encoders start from; without a tensor where they start from random numbers."""
    return Path("data") / dataset / "weights.safetensors"


def warmup_path(dataset: str, owner: str, seed: int) -> Path:
    """State at the end of the warm-up that methods with `owner`'s start epoch begin from."""
    return Path("models") / dataset / "warmup" / str(seed) / f"{owner}.safetensors"


def fit_path(dataset: str, owner: str, seed: int) -> Path:
    """Prototypes and decoupling mechanism fitted for `owner` and the variants that share its fit settings."""
    return Path("models") / dataset / "prototypes" / str(seed) / f"{owner}.safetensors"


def unimodal_path(dataset: str, method: str, seed: int) -> Path:
    """A trained model of one modality, as methods that start from such models read it."""
    return Path("models") / dataset / "unimodal" / str(seed) / f"{method}.safetensors"


def model_folder(dataset: str, method: str, seed: int) -> Path:
    """One trained model: {val,last,test}.safetensors, curves.json, evaluation.json, predictions.parquet."""
    return Path("models") / dataset / method / str(seed)


def chosen_path(dataset: str, method: str, seed: int) -> Path:
    """The weights of a trained model that validation chose."""
    return model_folder(dataset, method, seed) / "val.safetensors"


def operations_path(dataset: str, method: str) -> Path:
    """Operations of a method's training step, the same for all seeds."""
    return Path("models") / dataset / method / "operations.json"


def result_path(dataset: str, method: str) -> Path:
    """A result over seeds."""
    return Path("results") / f"{dataset}_{method}.json"


def figures_folder(dataset: str, method: str) -> Path:
    """A result's figures."""
    return Path("results") / "figures" / f"{dataset}_{method}"


def cost_path(dataset: str, method: str) -> Path:
    """What training a method costs, measured on one machine."""
    return Path("results") / "cost" / f"{dataset}_{method}.json"


def reference_path(dataset: str) -> Path:
    """What joint training costs there, as far as it is not measured in turns with the other methods."""
    return Path("results") / "cost" / "reference" / f"{dataset}.json"


def digest_path(dataset: str, method: str) -> Path:
    """Checksum of a result file."""
    return Path("results") / "digests" / f"{dataset}_{method}.txt"


def paper_path(study: str, ending: str) -> Path:
    """A table or figure of `studies`."""
    return Path("results") / "paper" / f"{study}.{ending}"


def tuning_path(dataset: str, method: str) -> Path:
    """What was tried of a method's settings on validation, and what was best."""
    return Path("results") / "tuning" / f"{dataset}_{method}.json"
