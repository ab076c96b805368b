"""What FFmpeg reads and libsndfile does not: containers, encoder delays, videos, playlists."""

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.video.frame import VideoFrame

from commands.denoise.media import open_media
from commands.denoise.sound_files import open_input
from commands.denoise.source import Refused
from tests.denoiser.clips import Sound, noisy_clip, worst
from tests.local.denoising import denoise, form, heard, read, write

SOUND = noisy_clip("voice", 2.0)


def encode(
    path: Path,
    codec: str,
    sound: Sound = SOUND,
    *,
    rate: int = 48000,
    picture: bool = False,
    tags: dict[str, str] | None = None,
    **options: str,
) -> Path:
    """Make a file with a track of sound [T] or [T, 2], and perhaps a picture before it."""
    channels = sound.reshape(len(sound), -1).T  # [channels, T]
    with av.open(path, "w", options=options) as container:
        container.metadata.update(tags or {})
        if picture:
            video = container.add_stream("mpeg4", rate=25)
            video.width = video.height = 64
        stream = container.add_stream(codec, rate=rate)
        assert isinstance(stream, AudioStream)
        context, layout = stream.codec_context, "stereo" if len(channels) == 2 else "mono"
        stream.layout = layout
        stream.format = (context.codec.audio_formats or [])[0]
        if picture:
            for _ in range(30):
                container.mux(video.encode(VideoFrame(64, 64, "yuv420p")))
            container.mux(video.encode())
        resampler = av.AudioResampler(stream.format, layout, rate, context.frame_size or 1024)
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(channels), "fltp", layout)
        frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), 0
        for piece in [*resampler.resample(frame), *resampler.resample(None), None]:
            container.mux(stream.encode(piece))
    return path


def lag(sound: Sound, reference: Sound) -> int:
    """Find by how many samples a sound is later than another one."""
    length = 2 ** int(np.ceil(np.log2(len(sound) + len(reference))))
    product = np.fft.rfft(sound, length) * np.conj(np.fft.rfft(reference, length))
    peak = int(np.argmax(np.fft.irfft(product)))
    return peak if peak < length // 2 else peak - length


@pytest.mark.parametrize(
    ("name", "codec", "padding"),
    [
        ("in.m4a", "aac", 0),
        ("in.mp4", "aac", 0),
        ("in.mov", "alac", 0),
        ("in.mp3", "libmp3lame", 0),
        ("in.opus", "libopus", 0),
        ("in.webm", "libopus", 0),
        ("in.mkv", "libopus", 0),
        ("in.mka", "flac", 0),
        ("in.MKV", "pcm_s16le", 0),
        ("in.wv", "wavpack", 0),
    ],
)
def test_a_track_is_as_long_as_it_was_and_in_its_place(
    tmp_path: Path, name: str, codec: str, padding: int
) -> None:
    """What encoders add before and behind the sound is taken off, in every container."""
    sound = heard(encode(tmp_path / name, codec))
    assert len(SOUND) <= len(sound) <= len(SOUND) + padding
    assert lag(sound, SOUND) == 0


@pytest.mark.parametrize("name", ["in.mp3", "in.ogg", "in.opus"])
def test_blocks_leave_no_trace_in_compressed_sound(tmp_path: Path, name: str) -> None:
    """A file that is read in blocks equals one that is read at once."""
    form = {"format": "OGG", "subtype": "OPUS"} if name == "in.opus" else {}
    soundfile.write(tmp_path / name, SOUND, 24000, **form)
    assert worst(heard(tmp_path / name), read(tmp_path / name)) <= 1e-6


@pytest.mark.parametrize("channels", [3, 5, 6, 7, 8])
def test_speakers_keep_their_places(tmp_path: Path, channels: int) -> None:
    """A surround WAV and the Ogg made of it have each voice on the same channel, for FFmpeg too."""
    sound = np.zeros((48000, channels), np.float32)
    for number in range(channels):
        sound[:, number] = 0.3 * np.sin(np.arange(48000) * (0.01 + 0.01 * number))
    source, target = write(tmp_path / "in.wav", sound), tmp_path / "out.ogg"
    assert denoise(source, target, "--attenuation-limit-db", "0") == 0
    with open_media(target.open("rb"), "out.ogg") as opened:
        by_ffmpeg = np.concatenate(list(opened.blocks()))
    for again in (heard(target), by_ffmpeg):
        assert np.array_equal(np.argmax(np.abs(sound.T @ again), axis=1), np.arange(channels))


def test_an_aac_without_a_container_is_read_as_ffmpeg_reads_it(tmp_path: Path) -> None:
    """ADTS does not say what the encoder added: as for ffmpeg, the first 1,024 samples stay."""
    assert lag(heard(encode(tmp_path / "in.aac", "aac")), SOUND) == 1024


def test_the_sound_of_a_video_is_denoised(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A video's audio track becomes a WAV of the same rate and channels; a folder renames it."""
    stereo = np.stack((SOUND, SOUND / 2), axis=1).astype(np.float32)
    source = encode(tmp_path / "in.mp4", "aac", stereo, rate=44100, picture=True)
    assert denoise(source, tmp_path / "out.wav") == 0
    written = form(tmp_path / "out.wav")
    assert written == (44100, 2, len(heard(source)), "PCM_16")
    assert capsys.readouterr().err == (
        f"{tmp_path / 'out.wav'}: written as PCM_16; .wav files cannot hold AAC\n"
    )
    (tmp_path / "folder").mkdir()
    assert denoise(source, tmp_path / "folder") == 0
    assert form(tmp_path / "folder" / "in.wav") == written


def test_lossless_sound_keeps_its_bits(tmp_path: Path) -> None:
    """ALAC of 24 bits becomes a WAV of 24 bits, FLAC in Matroska one of 16."""
    source = encode(tmp_path / "in.m4a", "alac")
    with open_input(source) as opened:
        assert opened.form.subtype in ("PCM_16", "PCM_24")
    with open_input(encode(tmp_path / "in.mkv", "flac")) as opened:
        assert opened.form.subtype == "PCM_16"


def test_tags_of_other_containers_are_kept(tmp_path: Path) -> None:
    """Title and artist of an m4a are in the FLAC."""
    source = encode(tmp_path / "in.m4a", "aac", tags={"title": "Title", "artist": "Somebody"})
    assert denoise(source, tmp_path / "out.flac") == 0
    with soundfile.SoundFile(tmp_path / "out.flac") as file:
        assert (file.title, file.artist) == ("Title", "Somebody")


def test_a_flac_that_does_not_know_its_length_is_read_to_its_end(tmp_path: Path) -> None:
    """A FLAC from a pipe says 0 samples; it stays a FLAC, of the same subtype."""
    source, target = tmp_path / "in.flac", tmp_path / "out.flac"
    soundfile.write(source, SOUND, 48000, "PCM_24")
    content = bytearray(source.read_bytes())
    assert content[4] & 0x7F == 0
    content[21] &= 0xF0  # the upper 4 of 36 bits
    content[22:26] = bytes(4)
    source.write_bytes(content)
    assert denoise(source, target) == 0
    assert form(target) == (48000, 1, len(SOUND), "PCM_24")


def test_an_aiff_that_was_never_closed_is_not_empty(tmp_path: Path) -> None:
    """What says that it is empty, but is not, is refused if it cannot be read."""
    path = tmp_path / "in.aiff"
    soundfile.write(path, SOUND, 48000, "PCM_16")
    content = bytearray(path.read_bytes())
    at = content.index(b"COMM"), content.index(b"SSND")
    content[at[0] + 10 : at[0] + 14] = bytes(4)
    content[at[1] + 4 : at[1] + 8] = b"\0\0\0\x08"
    path.write_bytes(content)
    with pytest.raises(Refused, match="says that it holds no sound; was it closed"):
        open_input(path)


def test_a_track_that_changes_in_the_middle_is_resampled(tmp_path: Path) -> None:
    """Two AAC of different rates and channels in one file: the second becomes like the first."""
    first = encode(tmp_path / "a.aac", "aac", SOUND, rate=48000).read_bytes()
    stereo = np.stack((SOUND, SOUND), axis=1)
    second = encode(tmp_path / "b.aac", "aac", stereo, rate=24000).read_bytes()
    path = tmp_path / "in.aac"
    path.write_bytes(first + second)
    alone = len(heard(tmp_path / "a.aac"))
    assert abs(len(heard(path)) - alone - 2 * len(heard(tmp_path / "b.aac"))) < 5000


@pytest.mark.parametrize(
    ("name", "codec"),
    [("in.m4a", "aac"), ("in.webm", "libopus"), ("in.mp3", "libmp3lame"), ("in.opus", "libopus"),
     ("in.aac", "aac"), ("in.mkv", "pcm_s16le"), ("in.aiff", "pcm_s16be")],
)  # fmt: skip
def test_a_truncated_file_gives_what_there_is_or_a_refusal(
    tmp_path: Path, name: str, codec: str
) -> None:
    """Cut anywhere, a file is refused or gives the beginning of its sound, never nothing."""
    whole = encode(tmp_path / name, codec, movflags="faststart")
    content, length = whole.read_bytes(), len(heard(whole))
    some = 0
    for part in (0.001, 0.1, 0.5, 0.9, 0.99):
        whole.write_bytes(content[: int(part * len(content))])
        try:
            sound = heard(whole)
        except Refused:
            continue
        assert 0 < len(sound) <= length
        some += 1
    assert some


@pytest.mark.parametrize(
    ("name", "codec"),
    [("in.m4a", "aac"), ("in.mkv", "libopus"), ("in.flac", "flac"), ("in.opus", "libopus"),
     ("in.caf", "pcm_s16be"), ("in.aiff", "pcm_s16be"), ("in.mp3", "libmp3lame")],
)  # fmt: skip
def test_a_mangled_file_gives_sound_or_a_refusal(tmp_path: Path, name: str, codec: str) -> None:
    """Whatever a few wrong bytes do, there is no other error, and never silence without a word."""
    whole = encode(tmp_path / name, codec, SOUND[:9600]).read_bytes()
    dice = np.random.default_rng(1)
    for _ in range(60):
        content = bytearray(whole)
        for at in dice.integers(0, dice.choice((60, 600, len(whole))), 4):
            content[at : at + 1] = dice.choice((b"\xff" * 4, b"\0" * 4, dice.bytes(1)))
        (tmp_path / name).write_bytes(content)
        try:
            with open_input(tmp_path / name) as source:
                assert any(len(block) for block in source.blocks()) or len(content) < 4096
        except Refused:
            pass


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_an_ogg_that_was_cut_or_is_damaged_is_told(tmp_path: Path, subtype: str) -> None:
    """A cut one has no end; of a damaged one, what is missing is told."""
    path = tmp_path / "in.ogg"
    soundfile.write(path, np.tile(SOUND, 4), 48000, format="OGG", subtype=subtype)
    content = path.read_bytes()
    with open_input(path) as source:
        assert sum(map(len, source.blocks())) == 4 * len(SOUND) and not source.note
    for part in (0.3, 0.99):
        path.write_bytes(content[: int(part * len(content))])
        with open_input(path) as source:
            assert 0 < sum(map(len, source.blocks())) < 4 * len(SOUND)
            assert source.note == "it stops without an end; was it cut?"
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes(20) + content[middle + 20 :])
    with open_input(path) as source:
        assert sum(map(len, source.blocks())) < 4 * len(SOUND)
        assert source.note.endswith(" s of its sound are missing")


@pytest.mark.parametrize("container", ["MP3", "WAV"])
def test_an_mp3_is_read_behind_its_damage(tmp_path: Path, container: str) -> None:
    """Random bytes in the middle cost what they replace; a note tells it, and what a cut costs."""
    path = encode(tmp_path / f"in.{container.lower()}", "libmp3lame")
    content, noise = path.read_bytes(), np.random.default_rng(1).bytes(1500)
    at = len(content) // 3
    path.write_bytes(content[:at] + noise + content[at + len(noise) :])
    with open_input(path) as source:
        sound = np.concatenate(list(source.blocks()))[:, 0]
        assert (source.form.container, source.form.subtype) == (container, "MPEG_LAYER_III")
        assert "left out" in source.note or "missing" in source.note
    assert 0.7 * len(SOUND) < len(sound) < len(SOUND)
    end = SOUND[-24000:]
    at = lag(sound, end)
    assert np.corrcoef(sound[at : at + len(end)], end)[0, 1] > 0.9
    path.write_bytes(content[: len(content) // 2])
    with open_input(path) as source:
        assert 0.4 * len(SOUND) < sum(map(len, source.blocks())) < 0.6 * len(SOUND)
        assert container == "WAV" or source.note.endswith(" s of its sound are missing")


def test_what_holds_no_sound_is_refused(tmp_path: Path) -> None:
    """A video without a track, an empty file, a picture, random bytes: a sentence each."""
    silent = tmp_path / "silent.mp4"
    with av.open(silent, "w") as container:
        video = container.add_stream("mpeg4", rate=25)
        video.width = video.height = 64
        container.mux(video.encode(VideoFrame(64, 64, "yuv420p")))
        container.mux(video.encode())
    empty, noise = tmp_path / "empty.m4a", tmp_path / "noise.m4a"
    empty.touch()
    noise.write_bytes(np.random.default_rng(1).bytes(20000))
    for path, sentence in (
        (silent, "holds no sound"),
        (empty, "is empty"),
        (noise, "cannot be read as a sound file"),
    ):
        with pytest.raises(Refused, match=f"^{path}: {sentence}$"):
            open_input(path)


def test_a_playlist_opens_no_other_file(tmp_path: Path) -> None:
    """What a playlist names is not read, wherever it is."""
    encode(tmp_path / "secret.aac", "aac")
    for name, text in {
        "list.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nsecret.aac\n#EXT-X-ENDLIST\n",
        "list.ffconcat": "ffconcat version 1.0\nfile secret.aac\n",
        "list.wav": "ffconcat version 1.0\nfile secret.aac\n",
    }.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(Refused):
            open_input(tmp_path / name)


@pytest.mark.slow
def test_memory_does_not_grow_with_a_track(tmp_path: Path) -> None:
    """Ten minutes of m4a take no more memory than ten seconds."""
    code = (
        "import sys; from pathlib import Path; from commands.denoise.sound_files import open_input;"
        "source = open_input(Path(sys.argv[1])); print(sum(map(len, source.blocks())));"
        "print(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])"
    )
    peaks = []
    for seconds in (10, 600):
        source = encode(tmp_path / f"{seconds}.m4a", "aac", np.tile(SOUND, seconds // 2))
        run = subprocess.run(
            [sys.executable, "-c", code, source], capture_output=True, text=True, check=True
        )
        samples, peak = map(int, run.stdout.split())
        assert samples >= 48000 * seconds * 0.99
        peaks.append(peak / 1024)
    print(f"peak memory: {peaks[0]:.0f} and {peaks[1]:.0f} MiB")
    assert peaks[1] < peaks[0] + 8
