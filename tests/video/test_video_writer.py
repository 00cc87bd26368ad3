from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from modist_det.inference import open_source
from modist_det.utils.errors import UserError
from modist_det.video.writer import VideoWriter
from tests.inference.conftest import write_film as film

GREY = np.full((48, 64, 3), 90, np.uint8)


def packets(path) -> list[tuple[float, bytes]]:
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        return [(float(p.pts * p.time_base), bytes(p)) for p in container.demux(stream) if p.size]


def write(path, seconds, **options):
    with VideoWriter(path, 48, 64, Fraction(25), **options) as writer:
        for second in seconds:
            writer.write(GREY, second)


def test_sound_is_copied_as_it_is(tmp_path):
    seconds = np.arange(50) / 25
    source = film(tmp_path / "a.mp4", seconds, sound="aac")
    write(tmp_path / "out.mp4", seconds, sound=source)
    before, after = packets(source), packets(tmp_path / "out.mp4")
    assert [data for _, data in after] == [data for _, data in before if _ >= 0]
    np.testing.assert_allclose([t for t, _ in after], [t for t, _ in before if t >= 0], atol=1e-3)


def test_sound_that_mp4_cannot_hold_is_encoded_anew(tmp_path):
    seconds = np.arange(50) / 25
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=16000, layout="mono")
        tone = (np.sin(np.arange(32000) / 9) * 8000).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    write(tmp_path / "out.mp4", seconds, sound=path)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.audio[0].codec_context.name == "aac"
        samples = np.concatenate([f.to_ndarray()[0] for f in container.decode(audio=0)])
    assert len(samples) == pytest.approx(32000, abs=3000)
    assert np.abs(samples).max() > 0.15  # the tone, not silence


def test_sound_moves_with_the_first_picture(tmp_path):
    """The pictures begin at 1 s of the file: sound before that is left out, the rest comes 1 s earlier."""
    source = film(tmp_path / "a.mp4", np.arange(50) / 25, sound="aac")
    write(tmp_path / "out.mp4", np.arange(25) / 25, sound=source, origin=1.0)
    late = [(t - 1.0, data) for t, data in packets(source) if t >= 1.0]
    after = packets(tmp_path / "out.mp4")
    assert [data for _, data in after] == [data for _, data in late]
    np.testing.assert_allclose([t for t, _ in after], [t for t, _ in late], atol=2e-3)


def test_no_sound_and_damaged_sound(tmp_path):
    silent = film(tmp_path / "a.mp4", np.arange(5) / 25)
    write(tmp_path / "out.mp4", [0.0, 0.04], sound=silent)
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert not container.streams.audio and container.streams.video[0].frames == 2
    (tmp_path / "gone.mp4").write_bytes(b"x" * 99)
    write(tmp_path / "out.mp4", [0.0, 0.04], sound=tmp_path / "gone.mp4")


def test_times_are_kept(tmp_path):
    seconds = [0.0, 0.033, 0.5, 0.5, 7.25]  # two at one time: the second comes just after
    write(tmp_path / "out.mp4", seconds)
    found = [frame.second for frame in open_source(tmp_path / "out.mp4").frames()]
    np.testing.assert_allclose(found, seconds, atol=1e-3)


def test_a_gap_of_a_day_is_kept(tmp_path):
    """An mp4 holds no more than some hours between two frames; the one before is repeated."""
    seconds = [0.0, 0.04, 86400.0, 86400.04]
    write(tmp_path / "out.mp4", seconds)
    found = [frame.second for frame in open_source(tmp_path / "out.mp4").frames()]
    assert found[:2] == pytest.approx(seconds[:2]) and found[-2:] == pytest.approx(seconds[2:])
    assert max(np.diff(found)) < 3601 and len(found) < 40


def test_colours_and_shape_are_what_the_tags_say(tmp_path):
    """Red, written with BT.709 and marked so: Y is 0.2126 R + 0.7152 G + 0.0722 B in 16 to 235."""
    red = np.full((48, 64, 3), (200, 30, 30), np.uint8)
    with VideoWriter(tmp_path / "a.mp4", 48, 64, Fraction(25), pixel_aspect=Fraction(4, 3)) as writer:
        writer.write(red, 0.0)
    with av.open(str(tmp_path / "a.mp4")) as container:
        context = container.streams.video[0].codec_context
        frame = next(container.decode(video=0))
        assert [context.colorspace, context.color_primaries, context.color_trc, context.color_range] == [
            1
        ] * 4
        assert container.streams.video[0].sample_aspect_ratio == Fraction(4, 3)
    luma = np.frombuffer(memoryview(frame.planes[0]), np.uint8)[0]
    assert luma == pytest.approx(16 + 219 / 255 * (0.2126 * 200 + 0.7874 * 30), abs=2)


def test_what_ffmpeg_says_while_writing_is_one_line(tmp_path, monkeypatch):
    with (
        pytest.raises(UserError, match=r"cannot write video .*a\.mp4: "),
        VideoWriter(tmp_path / "a.mp4", 48, 64, Fraction(25)) as writer,
    ):
        writer.write(GREY, 0.0)
        writer.write(np.zeros((48, 64, 4), np.uint8), 0.04)  # no RGB: PyAV raises ValueError
    assert list(tmp_path.iterdir()) == []


def test_whole_or_not_at_all(tmp_path):
    with (
        pytest.raises(RuntimeError, match="stop"),
        VideoWriter(tmp_path / "a.mp4", 48, 64, Fraction(25)) as w,
    ):
        w.write(GREY, 0.0)
        raise RuntimeError("stop")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        write(tmp_path / "file" / "a.mp4", [0.0])
