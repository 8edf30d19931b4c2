"""Frames by time stamps, in every container, however the clip is damaged."""

from pathlib import Path

import av
import numpy as np
import pytest

import media_files as media
from equimodal.features import media as container
from equimodal.features.media import MediaError, MissingTrackError
from equimodal.features.video import Video

FORMATS = {
    "clip.flv": {"codec": "flv1"},
    "clip.mp4": {"codec": "libx264", "b_frames": 2},
    "clip.webm": {"codec": "libvpx-vp9"},
    "clip.avi": {"codec": "mpeg4", "b_frames": 2},
    "clip.mpg": {"codec": "mpeg1video", "b_frames": 2},
    "clip.mov": {"codec": "libx264", "gop": 250},
}


def read(video: Video, wanted: list[int]) -> dict[int, int]:
    """Index asked for -> number that the picture shows."""
    return {
        index: media.number_in(picture)
        for index, picture in video.read(wanted, "rgb24", lambda picture: picture).items()
    }


@pytest.mark.parametrize("name", FORMATS)
def test_any_frames_of_any_container_are_the_right_ones(tmp_path: Path, name: str) -> None:
    video = Video.probe(media.write_video(tmp_path / name, **FORMATS[name]))
    assert len(video.times) == 40
    assert video.end - video.times[0] == pytest.approx(1.6, abs=2e-3)
    for wanted in ([0], [39], [5, 6, 30], [11, 12, 13, 24], list(range(40))):
        assert read(video, wanted) == {index: index for index in wanted}


def test_pictures_are_those_of_plain_sequential_decoding(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "clip.mp4", b_frames=2, gop=10)
    with av.open(str(path)) as container:
        sequential = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    picked = Video.probe(path).read([3, 17, 38], "rgb24", lambda picture: picture)
    assert all(np.array_equal(picture, sequential[index]) for index, picture in picked.items())


def test_only_groups_with_a_wanted_frame_are_decoded(tmp_path: Path) -> None:
    video = Video.probe(media.write_video(tmp_path / "clip.flv", codec="flv1", gop=10))
    assert len(list(video._decode([int(np.unique(video._track.stamps)[35])], sparing=True))) <= 10


def test_h264_frames_that_no_other_needs_are_not_decoded_and_the_rest_are_the_same(tmp_path: Path) -> None:
    video = Video.probe(media.write_video(tmp_path / "clip.mp4", b_frames=3, gop=40))
    stamps = np.unique(video._track.stamps)
    for index in range(40):  # whatever kind of frame it is
        plain, spared = (dict(video._decode([int(stamps[index])], sparing)) for sparing in (False, True))
        assert np.array_equal(plain[stamps[index]].to_ndarray(), spared[stamps[index]].to_ndarray())
    assert len(spared) < len(plain)


def test_what_sparing_loses_is_read_again_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = Video.probe(media.write_video(tmp_path / "clip.mp4", b_frames=3))
    decode = Video._decode

    def lossy(self: Video, stamps: list[int], sparing: bool) -> list:
        return [(stamp, frame) for stamp, frame in decode(self, stamps, sparing) if not sparing or stamp != stamps[-1]]

    monkeypatch.setattr(Video, "_decode", lossy)
    assert read(video, [5, 6]) == {5: 5, 6: 6}


def test_a_moment_belongs_to_the_frame_shown_then(tmp_path: Path) -> None:
    video = Video.probe(media.write_video(tmp_path / "clip.mp4"))
    assert video.at(np.array([-1.0, 0.0, 0.038, 0.04, 0.0601, 1.599, 9.0])).tolist() == [0, 0, 0, 1, 1, 39, 39]


def test_varying_frame_rate_is_read_by_time(tmp_path: Path) -> None:
    times = [0, 100, 200, 1000, 1100, 3000]
    video = Video.probe(media.write_video(tmp_path / "clip.mp4", frames=6, times=times))
    np.testing.assert_allclose(video.times, np.array(times) / 1000, atol=1e-3)
    chosen = video.at(np.array([0.5, 1.05, 2.9]))
    assert chosen.tolist() == [2, 3, 4]
    assert read(video, [2, 3, 4]) == {2: 2, 3: 3, 4: 4}


@pytest.mark.parametrize(
    ("name", "codec"),
    [("clip.mp4", "libx264"), ("clip.avi", "mpeg4"), ("clip.flv", "flv1"), ("clip.webm", "libvpx-vp9")],
)
def test_the_reason_names_the_frames_of_a_clip_that_breaks_off(tmp_path: Path, name: str, codec: str) -> None:
    path = media.cut_before(media.write_video(tmp_path / name, codec=codec), 12)
    with pytest.raises(MediaError, match=r"^truncated: decoded 1[1-3] of 40 frames$"):
        Video.probe(path)


def test_an_mp4_without_its_index_is_unreadable(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "clip.mov")
    with pytest.raises(MediaError, match=r"^unreadable: Invalid data found"):
        Video.probe(media.cut(path, 0.5))


def test_no_video_track_is_missing_not_broken(tmp_path: Path) -> None:
    path = media.write_wave(tmp_path / "clip.wav", media.tone(0.2))
    with pytest.raises(MissingTrackError, match="no video track"):
        Video.probe(path)


def test_a_damaged_frame_is_stood_in_for_by_the_one_before_but_not_for_long(tmp_path: Path) -> None:
    path = media.write_video(tmp_path / "clip.avi", codec="mpeg4", gop=12)
    with av.open(str(path)) as container:
        sizes = {packet.pts: (packet.pos, packet.size) for packet in container.demux(video=0) if packet.size}
    data = bytearray(path.read_bytes())
    for number in (5, *range(24, 36)):
        position, size = sizes[number]
        body = data.index(b"00dc", position) + 8 if data[position : position + 4] == b"00dc" else position
        data[body : body + size] = bytes(size)
    path.write_bytes(data)
    shown = read(Video.probe(path), [4, 5, 34])
    assert shown[4] == 4
    assert shown.get(5) in (4, 5)
    assert 34 not in shown


def test_rotation_is_applied(shared: Path) -> None:
    path = shared / "odd_media" / "tests__test_data__video_90.mov"
    with av.open(str(path)) as container:
        stored = next(container.decode(video=0)).to_ndarray(format="rgb24")
    picture = Video.probe(path).read([0], "rgb24", lambda picture: picture)[0]
    assert stored.shape[:2] == (320, 568)
    assert np.array_equal(picture, np.rot90(stored, -1))


def test_reasons_do_not_hold_the_folder(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"no media at all" * 20)
    with pytest.raises(MediaError) as caught:
        Video.probe(path)
    assert str(tmp_path) not in str(caught.value)
    with pytest.raises(MediaError, match="no such file") as caught:
        Video.probe(tmp_path / "gone.mp4")
    assert str(tmp_path) not in str(caught.value)


def test_a_track_too_large_to_keep_is_read_again_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = media.write_video(tmp_path / "clip.mp4", b_frames=2)
    kept = read(Video.probe(path), [3, 20, 39])
    monkeypatch.setattr(container, "KEPT", 0)
    video = Video.probe(path)
    assert video._track.kept is None
    assert read(video, [3, 20, 39]) == kept == {3: 3, 20: 20, 39: 39}
