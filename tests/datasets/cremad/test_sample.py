"""The generated CREMA-D: its names, its codecs, the same bytes each time, and a class signal in both modalities."""

import itertools
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from equimodal.datasets.cremad import sample as cremad_sample
from equimodal.datasets.cremad.public import possible_files
from equimodal.datasets.cremad.settings import CremadSample
from equimodal.datasets.synthesis import face, voice

SMALL = CremadSample(actors=3, clips_per_actor=12, seconds=0.5, size=(32, 40))


def test_names_are_cremads_own_and_emotions_are_balanced() -> None:
    made = cremad_sample.clips(CremadSample(actors=20, clips_per_actor=72))
    assert len({clip.stem for clip in made}) == len(made) == 20 * 72
    assert {f"AudioWAV/{clip.stem}.wav" for clip in made} <= set(possible_files())
    first = [clip.emotion for clip in made if clip.actor == 1001]
    assert {emotion: first.count(emotion) for emotion in cremad_sample.EMOTIONS} == dict.fromkeys(
        cremad_sample.EMOTIONS, 12
    )


def test_a_clip_has_cremads_codecs_and_the_lengths_agree(tmp_path: Path) -> None:
    clip = cremad_sample.clips(SMALL)[1]
    wav, flv = cremad_sample.write(clip, SMALL, tmp_path)
    assert (wav, flv) == (f"AudioWAV/{clip.stem}.wav", f"VideoFlash/{clip.stem}.flv")
    info = soundfile.info(tmp_path / wav)
    assert (info.samplerate, info.subtype, info.channels) == (16000, "PCM_16", 1)
    with av.open(str(tmp_path / flv)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (container.format.name, video.codec_context.name, audio.codec_context.name) == ("flv", "flv", "mp3float")
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video)]
    assert {frame.shape for frame in frames} == {(32, 40, 3)}
    assert len(frames) / float(face.FPS) == pytest.approx(info.duration, abs=1.0 / float(face.FPS))


def test_bytes_depend_on_seed_and_clip_only(tmp_path: Path) -> None:
    one, two = cremad_sample.clips(SMALL)[:2]
    larger = SMALL.model_copy(update={"actors": 5, "clips_per_actor": 18})
    for folder, order, settings in (
        ("a", (one, two), SMALL),
        ("b", (two, one), larger),
        ("c", (one,), SMALL.model_copy(update={"seed": 1})),
    ):
        for clip in order:
            cremad_sample.write(clip, settings, tmp_path / folder)
    for clip in (one, two):
        for name in (f"AudioWAV/{clip.stem}.wav", f"VideoFlash/{clip.stem}.flv"):
            assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    for name in (f"AudioWAV/{one.stem}.wav", f"VideoFlash/{one.stem}.flv"):
        assert (tmp_path / "a" / name).read_bytes() != (tmp_path / "c" / name).read_bytes()


def test_sound_is_bounded_speech_like_and_of_the_asked_length() -> None:
    generator = np.random.default_rng(0)
    actor = voice.draw_voice(generator)
    for emotion in voice.MANNERS:
        sound = voice.speak(actor, emotion, 1.0, 0.8, 20.0, generator)
        assert sound.shape == (12800,) and np.isfinite(sound).all() and np.abs(sound).max() <= 1.0
        spectrum = np.abs(np.fft.rfft(sound)) ** 2
        low = np.fft.rfftfreq(12800, 1 / voice.RATE) < 4000
        assert spectrum[low].sum() > 0.8 * spectrum.sum()


def test_both_modalities_tell_the_emotions_apart_across_actors() -> None:
    """Nearest class mean on crude features, actors of the test apart from those of the means:
    far above chance (1/6) in both.
    """
    settings = CremadSample(actors=12, clips_per_actor=18, seconds=0.6, size=(32, 40), seed=5)
    made = cremad_sample.clips(settings)
    sounds = np.stack([_bands(cremad_sample.clip_sound(clip, settings, 0.6)) for clip in made])
    faces = np.stack([cremad_sample.clip_frames(clip, settings, 0.2).mean((0, 3)).ravel() for clip in made])
    labels = np.array([clip.emotion for clip in made])
    actors = np.array([clip.actor for clip in made])
    assert _nearest_mean(sounds, labels, actors) > 0.4
    assert _nearest_mean(faces, labels, actors) > 0.4


def _bands(sound: np.ndarray) -> np.ndarray:
    """Mean and spread over time of 16 log bands."""
    pieces = np.lib.stride_tricks.sliding_window_view(sound, 512)[::160] * np.hanning(512)
    power = np.abs(np.fft.rfft(pieces)) ** 2
    edges = np.unique(np.geomspace(2, 257, 17).astype(int))
    bands = np.log(np.stack([power[:, low:high].sum(1) for low, high in itertools.pairwise(edges)], 1) + 1e-6)
    return np.concatenate([bands.mean(0), bands.std(0)])


def _nearest_mean(features: np.ndarray, labels: np.ndarray, actors: np.ndarray) -> float:
    """Accuracy on the last four actors; each actor's own mean is taken out first, as any model learns to."""
    features = features - np.stack([features[actors == actor].mean(0) for actor in actors])
    train = actors <= 1008
    names = np.unique(labels)
    means = np.stack([features[train & (labels == name)].mean(0) for name in names])
    spread = features[train].std(0) + 1e-6
    distance = (((features[~train, None] - means) / spread) ** 2).sum(-1)
    return float((names[distance.argmin(1)] == labels[~train]).mean())
