"""Media files written for the generated samples, by real encoders and byte for byte the same each time."""

from fractions import Fraction
from pathlib import Path

import numpy as np


def write_wav(path: Path, sound: np.ndarray, rate: int) -> None:
    """Write mono `sound` [samples] in [-1, 1] as 16-bit PCM at `rate` Hz."""
    import soundfile

    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, to_int16(sound), rate, subtype="PCM_16", format="WAV")


def write_clip(
    path: Path, frames: np.ndarray, fps: Fraction, sound: np.ndarray, rate: int, codecs: tuple[str, str]
) -> None:
    """Write a clip with picture and sound; the container follows from the name's suffix.

    Args:
        path: file to write; its folder is made.
        frames: uint8 [T, H, W, 3], RGB; H and W even.
        fps: frames a second.
        sound: mono [samples] in [-1, 1].
        rate: Hz; one that the audio codec and the container take (mp3 in flv: 44100, 22050 or 11025).
        codecs: FFmpeg's names of the video and the audio encoder, as ("flv", "libmp3lame").
    """
    import av
    from av.audio.stream import AudioStream
    from av.video.stream import VideoStream

    path.parent.mkdir(parents=True, exist_ok=True)
    # compression_level 9 is lame's fastest.
    # bitexact: no encoder version and no time of writing in the file. One thread: slices do not depend on the machine.
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        video = container.add_stream(
            codecs[0], rate=fps, options={"flags": "+bitexact", "threads": "1", "qscale": "3", "g": "15"}
        )
        assert isinstance(video, VideoStream)
        video.width, video.height, video.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        audio = container.add_stream(
            codecs[1], rate=rate, layout="mono", options={"flags": "+bitexact", "b": "32000", "compression_level": "9"}
        )
        assert isinstance(audio, AudioStream)
        for picture in frames:
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode())
        piece = av.AudioFrame.from_ndarray(to_int16(sound)[None], format="s16p", layout="mono")
        piece.sample_rate, piece.pts = rate, 0
        container.mux(audio.encode(piece))
        container.mux(audio.encode())


def write_mp4(path: Path, frames: np.ndarray, times: np.ndarray, sound: np.ndarray | None, rate: int) -> None:
    """Write an mp4 with h264 and, where there is sound, AAC.

    Args:
        path: file to write; its folder is made.
        frames: uint8 [T, H, W, 3], RGB; H and W even.
        times: ms at which each frame is shown, whole numbers [T], ascending; uneven ones make a variable frame rate.
        sound: [channels, samples] in [-1, 1], of 1 (mono), 2 (stereo) or 6 channels (5.1); None for a clip without a
            sound track.
        rate: Hz, one that AAC has.
    """
    import av
    from av.audio.stream import AudioStream
    from av.video.stream import VideoStream

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        # asm=0: x264's AVX lookahead gives other bytes from run to run
        # on pictures this small (24 runs: 6 results, without it 1).
        options = {
            "flags": "+bitexact",
            "threads": "1",
            "preset": "superfast",
            "crf": "23",
            "g": "50",
            "x264-params": "asm=0",
        }
        video = container.add_stream("libx264", rate=25, options=options)
        assert isinstance(video, VideoStream)
        video.width, video.height, video.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        video.codec_context.time_base = Fraction(1, 1000)
        audio = None
        if sound is not None:
            layout = {1: "mono", 2: "stereo", 6: "5.1"}[len(sound)]
            audio = container.add_stream(
                "aac",
                rate=rate,
                layout=layout,
                options={"flags": "+bitexact", "b": str(32000 * len(sound)), "aac_coder": "fast"},
            )
            assert isinstance(audio, AudioStream)
        for picture, time in zip(frames, times, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = int(time), Fraction(1, 1000)
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if audio is not None and sound is not None:
            piece = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(sound, dtype=np.float32), format="fltp", layout=layout
            )
            piece.sample_rate, piece.pts = rate, 0
            container.mux(audio.encode(piece))
            container.mux(audio.encode())


def write_avi(path: Path, frames: np.ndarray, fps: Fraction) -> None:
    """Write a silent clip as XVID (MPEG-4 part 2) in AVI.

    Args:
        path: file to write; its folder is made.
        frames: uint8 [T, H, W, 3], RGB; H and W even.
        fps: frames a second.
    """
    import av
    from av.video.stream import VideoStream

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        video = container.add_stream(
            "mpeg4", rate=fps, options={"flags": "+bitexact", "threads": "1", "qscale": "3", "g": "12"}
        )
        assert isinstance(video, VideoStream)
        video.width, video.height, video.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        video.codec_context.codec_tag = "XVID"
        for picture in frames:
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode())


def to_int16(sound: np.ndarray) -> np.ndarray:
    """[-1, 1] to 16-bit integers, clipped."""
    return np.round(np.clip(sound, -1.0, 1.0) * 32767.0).astype(np.int16)
