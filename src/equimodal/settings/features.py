"""Settings of what is read from raw media or from arrays: one model per kind of feature."""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from equimodal.settings.base import Listed, Settings, Whole, layered
from equimodal.settings.training import Seed

Fraction = Annotated[float, Field(ge=0, le=1)]
Pixels = Annotated[int, Field(ge=8, le=4096)]
LARGEST = 2**30  # numbers of one sample: with more the arrays of any dataset fill the memory


class Preset(Settings):
    """A feature whose `preset` fills in the keys that are not given."""

    @model_validator(mode="before")
    @classmethod
    def _expand_preset(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(preset := value.get("preset"), str) and preset in cls.presets:
            return layered(cls, [("modalities", value)])
        return value


class SpectrogramSettings(Preset):
    """Log spectrogram or log mel filter bank of the sound track (methods.md 23.1, audio A and B)."""

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "ogm": {
            "sample_rate": 22050,
            "seconds": 3.0,
            "fit": "tile",
            "n_fft": 512,
            "hop": 353,
            "window": 512,
            "mel_bins": None,
            "floor": 1e-7,
            "pad_mode": "reflect",
            "clip": True,
            "remove_mean": False,
            "mean": 0.0,
            "std": 1.0,
            "frames": 188,
            "standardize": False,
        },
        "fbank": {
            "sample_rate": 16000,
            "seconds": 10.24,
            "fit": "pad",
            "n_fft": 512,
            "hop": 160,
            "window": 400,
            "mel_bins": 128,
            "floor": 1.1920929e-07,
            "pad_mode": "constant",
            "clip": False,
            "remove_mean": True,
            "mean": -4.503877,
            "std": 10.282552,
            "frames": 1024,
            "standardize": False,
        },
    }

    kind: Literal["spectrogram"] = Field(description="kind of feature")
    preset: Literal["custom", "ogm", "fbank"] = Field(
        "custom",
        description="ogm: as OGM-GE's code; fbank: as AUG's and others' (docs/features.md); custom: the keys below",
    )
    sample_rate: int = Field(16000, ge=1000, le=384_000, description="Hz; other rates are resampled")
    seconds: float = Field(3.0, ge=0.01, le=3600, description="seconds of sound kept")
    align: Literal["start", "middle"] = Field(
        "start", description="which part of a longer sample is kept: from its start, or around its middle"
    )
    fit: Literal["tile", "pad"] = Field(
        "pad", description="how a shorter sample is filled up: repeated, or with silence"
    )
    n_fft: int = Field(512, ge=16, le=65_536, description="samples per Fourier window")
    hop: int = Field(160, ge=1, le=1_000_000, description="samples between windows")
    window: int = Field(400, ge=16, le=65_536, description="samples of the Hann window, at most n_fft")
    mel_bins: int | None = Field(
        64, ge=4, le=1024, description="mel filters; null keeps the linear spectrogram, n_fft/2+1 bins"
    )
    frames: int | None = Field(
        None, ge=1, le=100_000, description="time steps kept (cut or filled); null: as many as `seconds` gives"
    )
    floor: float = Field(1e-7, gt=0, description="added before the logarithm")
    pad_mode: Literal["constant", "reflect"] = Field(
        "constant", description="what the windows at the edges see (librosa changed its default in 0.10)"
    )
    clip: bool = Field(False, description="clip the waveform to [-1, 1]")
    remove_mean: bool = Field(False, description="subtract the waveform's mean")
    mean: float = Field(0.0, description="subtracted from the logarithm")
    std: float = Field(1.0, gt=0, description="the logarithm is divided by it")
    standardize: bool = Field(
        True,
        description="standardise by the training split's mean and std on the way to the model; the published"
        " presets do not",
    )
    noise_snr_db: float | None = Field(
        None,
        ge=-200,
        le=200,
        description="white noise added at this signal-to-noise ratio in dB, seeded by sample; null adds none",
    )
    noise_seed: Seed = Field(0, description="of noise_snr_db, beside the sample's id")
    dtype: Literal["float32", "float16"] = Field("float32", description="how it is stored")

    @model_validator(mode="after")
    def _window_fits(self) -> Self:
        if self.window > self.n_fft:
            raise ValueError(f"window ({self.window}) must not exceed n_fft ({self.n_fft})")
        steps = max(self.frames or 0, self.seconds * self.sample_rate / self.hop)
        if steps * (self.n_fft // 2 + 1) > LARGEST:
            raise ValueError(f"a sample of {steps:.0f} windows of n_fft ({self.n_fft}) is too large: raise hop")
        return self


class PictureSettings(Settings):
    """What frames and flow share: which moments, which part of the picture, at what size."""

    n: int | None = Field(
        3, ge=1, le=1000, description="frames (flow: pairs) per sample, evenly spaced; null when `fps` is given"
    )
    fps: float | None = Field(None, gt=0, le=1000, description="instead of n: frames a second; `n_max` bounds them")
    pick: int | None = Field(
        None,
        ge=1,
        le=1000,
        exclude_if=lambda value: value is None,  # files made before there was a choice still have the same settings
        description="of the stored frames the model sees so many: in training a random one of each of `pick` equal"
        " parts, else the middle one; null: all",
    )
    n_max: int = Field(
        16,
        ge=1,
        le=1000,
        description="frames kept at most when `fps` is given; shorter samples repeat their last frame",
    )
    before: float = Field(0.0, ge=0, le=3600, description="seconds added before a sample's start")
    after: float = Field(0.0, ge=0, le=3600, description="seconds added after a sample's end")
    crop: Listed[tuple[Fraction, Fraction, Fraction, Fraction]] | None = Field(
        None, description="left, top, right, bottom as fractions of the picture"
    )
    size: Listed[tuple[Pixels, Pixels]] = Field((224, 224), description="height, width in px that the model sees")
    margin: int = Field(0, ge=0, le=1024, description="px stored beyond `size`, so that random crops have room")

    @model_validator(mode="after")
    def _one_rule(self) -> Self:
        if (self.n is None) == (self.fps is None):
            raise ValueError("give either n or fps (the other null)")
        if self.pick is not None and self.pick > self.count:
            raise ValueError(
                f"pick ({self.pick}) must not exceed the {self.count} frames stored (n, or n_max with fps)"
            )
        if self.crop is not None and (self.crop[0] >= self.crop[2] or self.crop[1] >= self.crop[3]):
            raise ValueError("crop is left, top, right, bottom with left < right and top < bottom")
        if 3 * self.count * (self.size[0] + self.margin) * (self.size[1] + self.margin) > LARGEST:
            raise ValueError(f"a sample of {self.count} frames of {self.size} px and margin {self.margin} is too large")
        return self

    @property
    def count(self) -> int:
        """Frames stored per sample."""
        return self.n if self.n is not None else self.n_max


class FramesSettings(PictureSettings):
    """Still pictures of the video track, uint8."""

    kind: Literal["frames"] = Field(description="kind of feature")
    channels: Annotated[Literal[1, 3], Whole] = Field(3, description="3: RGB, 1: grey")


class FlowSettings(PictureSettings):
    """Optical flow between neighbouring frames, bounded and stored as uint8."""

    kind: Literal["flow"] = Field(description="kind of feature")
    algorithm: Literal["dis-fast", "dis-medium", "farneback", "tvl1"] = Field(
        "dis-medium", description="of OpenCV; tvl1, what the literature uses, needs opencv-contrib and is far slower"
    )
    compute_size: Listed[tuple[Pixels, Pixels]] | None = Field(
        None,
        description="height, width in px at which flow is computed and its px count, then shrunk to the stored size by"
        " area; null: the stored size",
    )
    bound: float = Field(20.0, gt=0, le=4096, description="px of the computed picture; flow is clipped to ±bound")
    channels: Annotated[Literal[2, 3], Whole] = Field(2, description="2: u, v; 3: u, v, u (keeps an ImageNet stem)")

    @model_validator(mode="after")
    def _room_for_patches(self) -> Self:
        if (
            self.algorithm.startswith("dis")
            and min(self.compute_size or [side + self.margin for side in self.size]) < 12
        ):
            raise ValueError(
                "size + margin (or compute_size) must be at least 12 px for the dis algorithms, which compare"
                " patches of 8 px (farneback takes less)"
            )
        return self


class ArraySettings(Settings):
    """An array that was computed elsewhere: a .npy file, an array of a .npz file, a column of a .parquet file."""

    kind: str
    column: str | None = Field(
        None,
        description="table: the CSV's column with one path per row, as text/001.npy, or text.npy#12 for row 12 of a"
        " stacked file",
    )
    file: str | None = Field(
        None,
        description="table: instead of column, one file for all samples, one row per sample in the table's order,"
        " relative to root",
    )
    key: str | None = Field(None, description="array of a .npz file (null: its only one), column of a .parquet file")
    width: int = Field(ge=1, le=1_000_000, description="numbers per vector, or per step of a sequence")
    nonfinite: Literal["reject", "zero"] = Field(
        "reject", description="a sample with NaN or infinite numbers: leave it out, or set them to zero (counted)"
    )
    standardize: bool = Field(
        True, description="standardise each number by the training split's mean and std on the way to the model"
    )


class SequenceSettings(ArraySettings):
    """Sequences [steps, width]: longer ones are cut, shorter ones padded; the model is told their lengths."""

    kind: Literal["sequence"] = Field(description="kind of feature")
    length: int = Field(
        ge=1, le=100_000, description="steps stored per sample; the start of a longer sequence is kept (counted)"
    )
    lengths: str | None = Field(
        None, description="table, with file: .npy of the true steps per row of a padded file; null: every step is real"
    )

    @model_validator(mode="after")
    def _of_a_size(self) -> Self:
        if self.length * self.width > LARGEST:
            raise ValueError(f"a sample of {self.length} steps of width {self.width} is too large")
        return self


class VectorSettings(ArraySettings):
    """Vectors [width]."""

    kind: Literal["vector"] = Field(description="kind of feature")


Feature = Annotated[
    SpectrogramSettings | FramesSettings | FlowSettings | SequenceSettings | VectorSettings, Field(discriminator="kind")
]
