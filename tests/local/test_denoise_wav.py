"""WAV and its kin: unclosed, odd and huge files are read in full, and their chunks are kept."""

from collections.abc import Callable
from pathlib import Path
from struct import pack, unpack

import numpy as np
import pytest
import soundfile

from actors.samples import BYTES
from commands.denoise.sound_files import open_input
from commands.denoise.source import Form, Refused
from commands.denoise.wav_output import WavWriter
from tests.denoiser.clips import noisy_clip, worst
from tests.local.denoising import denoise, form, heard, read

SOUND = noisy_clip("voice", 0.3)
PCM = np.rint(SOUND * 32768).astype("<i2").tobytes()
FMT = pack("<HHIIHH", 1, 1, 48000, 96000, 2, 16)
UNKNOWN = 0xFFFFFFFF
GUID_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")


def chunk(name: bytes, content: bytes, size: int | None = None) -> bytes:
    """Make a chunk that may lie about its size."""
    told = len(content) if size is None else size
    return pack("<4sI", name, told) + content + bytes(len(content) % 2)


def riff(*chunks: bytes, magic: bytes = b"RIFF", size: int | None = None) -> bytes:
    """Make a file of chunks."""
    body = b"WAVE" + b"".join(chunks)
    return pack("<4sI", magic, len(body) if size is None else size) + body


def wave64(*chunks: tuple[bytes, bytes, int], told: int = 0) -> bytes:
    """Make a Wave64 of chunks: id, content, size that is told."""
    body = bytes.fromhex("726966662e91cf11a5d628db04c10000") + pack("<Q", told)
    body += b"wave" + GUID_TAIL
    for name, content, size in chunks:
        body += bytes(-len(body) % 8) + name + GUID_TAIL + pack("<Q", size) + content
    return body


def ds64(riff_bytes: int, data_bytes: int, samples: int) -> bytes:
    return chunk(b"ds64", pack("<QQQI", riff_bytes, data_bytes, samples, 0))


fmt = chunk(b"fmt ", FMT)
UNCLOSED = {
    "both sizes 0": riff(fmt, chunk(b"data", PCM, 0), size=0),
    "as first written": riff(fmt, chunk(b"data", PCM, 0), size=36),
    "both open": riff(fmt, chunk(b"data", PCM, UNKNOWN), size=UNKNOWN),
    "almost open": riff(fmt, chunk(b"data", PCM, UNKNOWN - 36), size=UNKNOWN),
    "sox in a pipe": riff(fmt, chunk(b"data", PCM, 0x7FFFF000), size=0x7FFFF024),
    "arecord without end": riff(fmt, chunk(b"data", PCM, 0x80000000), size=0x80000024),
    "larger than the file": riff(fmt, chunk(b"data", PCM, len(PCM) + 1000)),
    "an odd size": riff(fmt, chunk(b"data", PCM + b"\x01", len(PCM) + 1)),
    "half a sample": riff(fmt, chunk(b"data", PCM + b"\x01", 0))[:-1],
    "a RIFF size of 0": riff(fmt, chunk(b"data", PCM), size=0),
    "RF64, ds64 of zeros": riff(
        ds64(0, 0, 0), fmt, chunk(b"data", PCM, UNKNOWN), magic=b"RF64", size=UNKNOWN
    ),
    "RF64, ds64 open": riff(
        ds64(2**64 - 1, 2**64 - 1, 0), fmt, chunk(b"data", PCM, UNKNOWN), magic=b"RF64"
    ),
    "RF64, ds64 still JUNK": riff(
        chunk(b"JUNK", bytes(28)), fmt, chunk(b"data", PCM, UNKNOWN), magic=b"RF64"
    ),
    "BW64, closed": riff(
        ds64(0, len(PCM), 0), fmt, chunk(b"data", PCM, UNKNOWN), magic=b"BW64", size=UNKNOWN
    ),
    "BW64, unclosed": riff(ds64(0, 0, 0), fmt, chunk(b"data", PCM, 0), magic=b"BW64", size=0),
    "Wave64, closed": wave64((b"fmt ", FMT, 40), (b"data", PCM, len(PCM) + 24)),
    "Wave64, unclosed": wave64((b"fmt ", FMT, 40), (b"data", PCM, 0)),
    "Wave64, as first written": wave64((b"fmt ", FMT, 40), (b"data", PCM, 24)),
    "out of date": riff(fmt, chunk(b"data", PCM, 1000), size=36 + 1000),
    "out of date, odd": riff(fmt, chunk(b"data", PCM, 1001), size=36 + 1002),
    "RF64, out of date": riff(
        ds64(72 + 1000, 1000, 500), fmt, chunk(b"data", PCM, UNKNOWN), magic=b"RF64", size=UNKNOWN
    ),
    "Wave64, out of date": wave64(
        (b"fmt ", FMT, 40), (b"data", PCM, 1024), told=40 + 40 + 24 + 1000
    ),
    "no padding": riff(chunk(b"note", b"odd")[:-1], fmt, chunk(b"data", PCM)),
    "padding that is not 0": riff(chunk(b"note", b"odd")[:-1] + b"!", fmt, chunk(b"data", PCM)),
    "a long format chunk": riff(chunk(b"fmt ", FMT + bytes(34)), chunk(b"data", PCM)),
    "no block size": riff(
        chunk(b"fmt ", pack("<HHIIHH", 1, 1, 48000, 0, 0, 16)), chunk(b"data", PCM)
    ),
}


@pytest.mark.parametrize("content", UNCLOSED.values(), ids=UNCLOSED.keys())
def test_what_was_never_closed_is_read_to_its_end(tmp_path: Path, content: bytes) -> None:
    """Whatever the sizes in a header say, all of the sound is read, and only sound."""
    path = tmp_path / "in.wav"
    path.write_bytes(content)
    assert np.array_equal(heard(path), np.frombuffer(PCM, "<i2") / np.float32(32768))


def test_one_that_was_cut_in_its_header_is_refused(tmp_path: Path) -> None:
    """At any byte; behind the header, what is missing is told."""
    path = tmp_path / "in.wav"
    soundfile.write(path, np.zeros(4800), 48000)
    content = path.read_bytes()
    for size in range(1, 44):
        path.write_bytes(content[:size])
        with pytest.raises(Refused):
            open_input(path)
    path.write_bytes(content[:44])
    with open_input(path) as source:
        assert not list(source.blocks()) and "9600 bytes of its sound" in source.note


def test_chunks_behind_the_sound_are_not_heard(tmp_path: Path) -> None:
    """Sizes that fit are obeyed, with padding or without; a recording of only tags is empty."""
    path = tmp_path / "in.wav"
    tags = chunk(b"LIST", b"INFOISFT\x04\0\0\0test")
    for count in (0, 1001, 1002):
        sound = (PCM[:count] + b"\0")[: count + count % 2]
        for data in (chunk(b"data", sound, count), chunk(b"data", sound, count)[: 8 + count]):
            path.write_bytes(riff(fmt, data, tags))
            assert len(heard(path)) == count // 2


def test_what_follows_the_sound_and_is_no_chunk_is_told(tmp_path: Path) -> None:
    """A note counts the bytes that a file has beyond what its header says."""
    path = tmp_path / "in.wav"
    path.write_bytes(riff(fmt, chunk(b"data", PCM), b"\xff" * 1000))
    with open_input(path) as source:
        assert source.form.samples == len(PCM) // 2
        assert source.note == "1000 bytes after the end of its sound were left out"
    path.write_bytes(riff(fmt, chunk(b"data", PCM))[:-500])
    with open_input(path) as source:
        assert source.form.samples == len(PCM) // 2 - 250
        assert source.note == "500 bytes of its sound are missing at its end"


def test_sound_behind_the_end_is_told(tmp_path: Path) -> None:
    """A note counts sound beyond both sizes, which is read, and further sounds, which are not."""
    path, half = tmp_path / "in.wav", len(PCM) // 4 * 2
    data, extra = chunk(b"data", PCM, half), len(PCM) - half
    data_twice = chunk(b"data", PCM[:half]) + chunk(b"data", PCM[half:])
    second = chunk(b"data", PCM[:half]) + riff(fmt, chunk(b"data", PCM[half:]))
    tag = chunk(b"data", PCM[:half]) + b"TAG" + bytes(125)
    for content, samples, note in (
        (
            riff(fmt, data, size=36 + half),
            len(PCM) // 2,
            f"its header is out of date; {extra} bytes of sound behind its end were read",
        ),
        (riff(fmt, data_twice), half // 2, f"a second sound in it, {extra} bytes, was left out"),
        (
            riff(fmt, second, size=36 + half),
            half // 2,
            f"a second sound in it, {extra + 36} bytes, was left out",
        ),
        (
            riff(fmt, tag, size=36 + half),
            half // 2,
            "128 bytes after the end of its sound were left out",
        ),
    ):
        path.write_bytes(content)
        with open_input(path) as source:
            assert (source.form.samples, source.note) == (samples, note)
            assert source.chunks == []


def test_sizes_that_have_wrapped_are_unwrapped(tmp_path: Path) -> None:
    """A WAV of more than 4 GiB, whose size of 32 bits has wrapped, is read in full."""
    path = tmp_path / "in.wav"
    tags = chunk(b"LIST", b"INFO")
    size = 2**33 + 1000
    with path.open("wb") as file:
        file.write(riff(fmt, chunk(b"data", b"", size % 2**32)))
        file.seek(size, 1)
        file.write(tags)
    with open_input(path) as source:
        assert source.form.samples == size // 2
        assert source.chunks == [(b"LIST", b"INFO")]


@pytest.mark.parametrize("container", ["WAV", "WAVEX", "RF64", "W64"])
@pytest.mark.parametrize("subtype", BYTES)
def test_every_subtype_is_read_as_by_libsndfile(
    tmp_path: Path, container: str, subtype: str
) -> None:
    """Every member of the family, of every subtype, gives the samples that libsndfile reads."""
    path = tmp_path / "in.wav"
    sound = np.stack((SOUND, -SOUND, SOUND / 2), axis=1)
    for endian in ("LITTLE", "BIG") if container == "WAV" else ("FILE",):
        soundfile.write(path, sound, 7000, subtype, format=container, endian=endian)
        with open_input(path) as source:
            assert type(source).__name__ == "WavSource"
            assert (source.form.container, source.form.subtype) == (container, subtype)
            assert (source.form.rate, source.form.channels) == (7000, 3)
        assert np.array_equal(heard(path), read(path))


def test_24_bits_in_32_and_other_headers(tmp_path: Path) -> None:
    """24 valid bits in 4 bytes, with and without an extensible header; 20 bits in 3."""
    path = tmp_path / "in.wav"
    wide = (np.arange(-1000, 1000) << 8).astype("<i4")
    guid = bytes.fromhex("0100000000001000800000aa00389b71")
    extensible = pack("<HHIIHHHHI", 0xFFFE, 1, 384000, 0, 4, 32, 22, 24, 4) + guid
    plain = pack("<HHIIHH", 1, 1, 384000, 0, 4, 24)
    for header in (extensible, plain):
        path.write_bytes(riff(chunk(b"fmt ", header), chunk(b"data", wide.tobytes())))
        assert np.array_equal(heard(path), wide / np.float32(2**31))
    narrow = pack("<HHIIHH", 1, 1, 384000, 0, 3, 20)
    path.write_bytes(riff(chunk(b"fmt ", narrow), chunk(b"data", b"\0\0\x40")))
    assert heard(path) == [0.5]


@pytest.mark.parametrize("subtype", BYTES)
@pytest.mark.parametrize("container", ["WAV", "WAVEX", "RF64"])
def test_what_we_write_is_read_back_by_libsndfile(
    tmp_path: Path, container: str, subtype: str
) -> None:
    """A header is correct for every subtype, for an even and an odd number of bytes."""
    path = tmp_path / "out.wav"
    for length in (0, 1, len(SOUND)):
        asked = Form(container, subtype, 44100, 1, None, speakers=None)
        # libsndfile finds no sound behind an odd chunk of an RF64.
        writer = WavWriter(path.open("wb"), asked, [(b"iXML", b"even")])
        writer.write(SOUND[:length, None])
        writer.finish()
        writer.close()
        info = soundfile.info(path)
        assert (info.format, info.subtype, info.samplerate) == (container, subtype, 44100)
        step = {"PCM_U8": 1 / 128, "ULAW": 0.03, "ALAW": 0.03}.get(subtype, 1 / 65536)
        assert info.frames == length and worst(read(path), SOUND[:length]) <= step
        assert path.stat().st_size % 2 == 0


def test_a_wav_of_more_than_4_gib_becomes_an_rf64(tmp_path: Path) -> None:
    """A file that turns out too large for a WAV becomes an RF64, and a note says so."""
    path = tmp_path / "out.wav"
    file = path.open("w+b")
    writer = WavWriter(file, Form("WAV", "PCM_16", 48000, 2, None))
    before = file.tell()
    file.truncate(before + 2**32)  # a hole: no sound of this size is written in a test
    writer._samples = 2**30
    writer.finish()
    assert writer.note == "written as RF64; a WAV holds at most 4 GiB"
    writer.close()
    info = soundfile.info(path)
    assert (info.format, info.frames, info.subtype) == ("RF64", 2**30, "PCM_16")
    with open_input(path) as source:
        assert source.form.samples == 2**30
    assert path.stat().st_size == before + 2**32


KEPT = {
    b"bext": b"scene 1".ljust(602, b"\0"),
    b"iXML": b"<BWFXML><PROJECT>x</PROJECT></BWFXML>",
    b"cue ": pack("<III4sIII", 1, 7, 4800, b"data", 0, 0, 4800),
    b"LIST": b"adtllabl\x09\0\0\0\x07\0\0\0here\0\0",
    b"ID3 ": b"ID3\x04\0\0\0\0\0\0",
    b"_PMX": b"<x:xmpmeta/>",
    b"what": b"ever",
}


@pytest.mark.parametrize("unclosed", [False, True])
def test_what_else_a_wav_holds_is_kept(tmp_path: Path, unclosed: bool) -> None:
    """Chunks before and behind the sound are in the output; those about the samples are not."""
    source, target = tmp_path / "in.wav", tmp_path / "out.wav"
    chunks = [chunk(name, content) for name, content in KEPT.items()]
    before, behind = (chunks, []) if unclosed else (chunks[:3], chunks[3:])
    dropped = [chunk(b"MD5 ", bytes(16)), chunk(b"PEAK", bytes(16)), chunk(b"JUNK", bytes(99))]
    data = chunk(b"data", PCM, 0 if unclosed else None)
    source.write_bytes(riff(*dropped, *before[:1], fmt, *before[1:], data, *behind))
    assert denoise(source, target) == 0
    assert chunks_of(target) == KEPT
    assert form(target) == (48000, 1, len(PCM) // 2, "PCM_16")


def test_chunks_of_a_compressed_wav_are_kept(tmp_path: Path) -> None:
    """A WAV that libsndfile writes, such as ADPCM, gets them behind the sound."""
    source, target = tmp_path / "in.wav", tmp_path / "out.wav"
    soundfile.write(source, SOUND, 48000, "IMA_ADPCM")
    content = source.read_bytes() + b"".join(chunk(*item) for item in KEPT.items())
    source.write_bytes(content[:4] + pack("<I", len(content) - 8) + content[8:])
    assert denoise(source, target) == 0
    assert chunks_of(target) == KEPT
    assert form(target) == form(source)


@pytest.mark.parametrize("subtype", ["IMA_ADPCM", "MS_ADPCM", "GSM610"])
def test_a_compressed_wav_that_was_never_closed_is_read_to_its_end(
    tmp_path: Path, subtype: str
) -> None:
    """Its size of 0 does not make it empty, and its subtype stays."""
    path, rate = tmp_path / "in.wav", 8000 if subtype == "GSM610" else 48000
    soundfile.write(path, SOUND, rate, subtype)
    content = bytearray(path.read_bytes())
    at = content.index(b"data")
    content[at + 4 : at + 8] = content[4:8] = bytes(4)
    path.write_bytes(content)
    with open_input(path) as source:
        assert (source.form.container, source.form.subtype) == ("WAV", subtype)
        assert sum(map(len, source.blocks())) >= len(SOUND)


def chunks_of(path: Path) -> dict[bytes, bytes]:
    """Parse a strict RIFF; returns what it holds besides the sound and its format."""
    content = path.read_bytes()
    assert content[:4] == b"RIFF" and content[8:12] == b"WAVE"
    assert unpack("<I", content[4:8])[0] == len(content) - 8
    found, at = {}, 12
    while at < len(content):
        name, size = unpack("<4sI", content[at : at + 8])
        found[name] = content[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
    return {name: body for name, body in found.items() if name not in (b"fmt ", b"fact", b"data")}


def test_an_extensible_header_keeps_its_speakers(tmp_path: Path) -> None:
    """The channel mask of a surround file is in the output."""
    source, target = tmp_path / "in.wav", tmp_path / "out.wav"
    guid = bytes.fromhex("0100000000001000800000aa00389b71")
    extensible = pack("<HHIIHHHHI", 0xFFFE, 4, 48000, 0, 8, 16, 22, 16, 0x33) + guid
    source.write_bytes(riff(chunk(b"fmt ", extensible), chunk(b"data", PCM[: 8 * 1000])))
    assert denoise(source, target) == 0
    with open_input(target) as written:
        assert written.form == Form("WAVEX", "PCM_16", 48000, 4, 1000, 0x33)


MANGLE: list[Callable[[bytearray, np.random.Generator], object]] = [
    lambda content, dice: content.__setitem__(int(dice.integers(60)), int(dice.integers(256))),
    lambda content, dice: content.__delitem__(slice(int(dice.integers(12, len(content))), None)),
    lambda content, dice: content.__setitem__(
        slice(at := int(dice.integers(60)), at + 4), b"\xff" * 4
    ),
]


def test_any_header_is_read_or_refused(tmp_path: Path) -> None:
    """Mangled headers give sound of a sane form or a refusal, never another error."""
    dice = np.random.default_rng(1)
    path = tmp_path / "in.wav"
    wholes = [bytes(content[:3000]) for content in UNCLOSED.values()]
    read_ones = 0
    for number in range(1500):
        content = bytearray(wholes[number % len(wholes)])
        for _ in range(dice.integers(1, 4)):
            MANGLE[dice.integers(len(MANGLE))](content, dice)
        path.write_bytes(content)
        try:
            sound = heard(path)
        except Refused:
            continue
        read_ones += 1
        assert sound.nbytes <= 100_000
    assert read_ones > 300
