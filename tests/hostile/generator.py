"""Makes hostile files of many kinds, drawn from a seed, all from the media of these tests."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

import av
import numpy as np
from av.error import FFmpegError
from PIL import Image

from tests import media

ABSURD = (0, 1, 2, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFE, 0x00FFFFFF, 0x10000, 0xDEADBEEF)
BOXES = b"mvhd tkhd mdhd hdlr elst stts ctts stss stsz stsc stco avcC hvcC av1C stsd moov trak mdia mdat ftyp".split()
RIFF = b"avih strh strf idx1 movi LIST RIFF".split()
EBML = {  # elements of Matroska
    "time scale": b"\x2a\xd7\xb1",
    "duration": b"\x44\x89",
    "width": b"\xb0",
    "height": b"\xba",
    "frame duration": b"\x23\xe3\x83",
    "codec private": b"\x63\xa2",
    "cluster": b"\x1f\x43\xb6\x75",
    "cues": b"\x1c\x53\xbb\x6b",
    "segment": b"\x18\x53\x80\x67",
}
NASTY = (
    "<script>alert('tell')</script>",
    "\x1b[31m\x1b]0;owned\x07\x1b[2J",
    "\u202egnp.exe\u202c",
    "=cmd|' /C calc'!A0",
    "line\r\nbreak\ttab\x00nul\x9b31m",
    "{{7*7}} ${7*7} %s %n",
    "[bold red]markup[/] [link=file:///etc/passwd]x[/link]",
    '"><img src=x onerror=alert(1)>',
    "\ud7ff\ufffe\U000e0001" + "a" * 200,
)


@dataclass(frozen=True)
class Case:
    """One file: of which kind, under which name, and its contents."""

    kind: str
    name: str
    make: Callable[[], bytes]


def cases(folder: Path, count: int, seed: int = 0) -> Iterator[Case]:
    """`count` cases, each kind in turn as long as it has more.

    Args:
        folder: where the clips they are made from are written.
        count: how many.
        seed: of everything that is drawn.
    """
    bases = make_bases(folder)
    kinds = [
        kind(bases, random.Random(f"{seed} {kind.__name__}"))
        for kind in (
            truncated,
            flipped,
            cut_up,
            packets,
            headers,
            boxes,
            bombs,
            references,
            streams,
            sizes,
            polyglots,
            names,
        )
    ]
    return islice(_in_turn(kinds), count)


def _in_turn(kinds: Sequence[Iterator[Case]]) -> Iterator[Case]:
    left = list(kinds)
    while left:
        for kind in list(left):
            case = next(kind, None)
            if case is None:
                left.remove(kind)
            else:
                yield case


def make_bases(folder: Path) -> dict[str, bytes]:
    """Sound files of every common kind, small, with a face; those that are there already are taken as they are."""
    if folder.is_dir():
        return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
    folder.mkdir(parents=True)
    size, codecs = (160, 120), media.ENCODERS
    for name, options in {
        "plain.mp4": {"audio": True, "gop": 8},
        "front.mp4": {"options": {"movflags": "faststart"}, "gop": 8},
        "turned.mov": {"codec": codecs["hevc"], "rotation": 90},
        "clip.mkv": {"gop": 8, "audio": True},
        "clip.webm": {"codec": codecs["vp9"]},
        "clip.avi": {"codec": codecs["mpeg4"]},
        "clip.ts": {"gop": 8},
        "av1.mp4": {"codec": codecs["av1"]},
        "raw.h264": {"gop": 8},
    }.items():
        media.write_video(folder / name, media.portrait_frames(24, size), **options)
    images = [Image.fromarray(image) for image in media.portrait_frames(6, size)]
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    import pillow_heif

    pillow_heif.register_heif_opener()
    for name in ("photo.jpg", "photo.png", "photo.tif", "photo.bmp", "photo.heic", "photo.avif"):
        images[0].save(folder / name, exif=exif)
    for name in ("moving.gif", "moving.webp"):
        images[0].save(folder / name, save_all=True, append_images=images[1:], duration=40)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


# Damage -------------------------------------------------------------------------------------------------------------


def truncated(bases: dict[str, bytes], rng: random.Random) -> Iterator[Case]:
    """Cut off at every hundredth."""
    for percent in rng.sample(range(100), 100):
        for name, whole in bases.items():
            yield Case("truncated", f"{percent}-{name}", lambda w=whole, p=percent: w[: len(w) * p // 100])


def flipped(bases: dict[str, bytes], rng: random.Random) -> Iterator[Case]:
    """Bits turned over, anywhere or in the first kilobytes."""
    for number in _forever():
        name, whole = rng.choice(list(bases.items()))
        reach = rng.choice((len(whole), 4096, 256))
        data = bytearray(whole)
        for _ in range(rng.choice((1, 3, 10, 100, 1000))):
            data[rng.randrange(min(reach, len(data)))] ^= 1 << rng.randrange(8)
        yield Case("bits flipped", f"{number}-{name}", lambda d=bytes(data): d)


def cut_up(bases: dict[str, bytes], rng: random.Random) -> Iterator[Case]:
    """Pieces left out, doubled, moved, zeroed, filled with noise."""
    for number in _forever():
        name, whole = rng.choice(list(bases.items()))
        data = bytearray(whole)
        for _ in range(rng.choice((1, 2, 8))):
            start = rng.randrange(max(len(data), 1))
            length = rng.choice((4, 64, 1000, len(data) // 3))
            piece = data[start : start + length]
            how = rng.randrange(5)
            if how == 0:
                del data[start : start + length]
            elif how == 1:
                data[start:start] = piece
            elif how == 2:
                del data[start : start + length]
                data[(place := rng.randrange(len(data) + 1)) : place] = piece
            else:
                data[start : start + length] = bytes(len(piece)) if how == 3 else rng.randbytes(len(piece))
        yield Case("cut up", f"{number}-{name}", lambda d=bytes(data): d)


def packets(bases: dict[str, bytes], rng: random.Random) -> Iterator[Case]:
    """Packets dropped, shuffled, doubled, mixed between files; keyframes missing; times that make no sense."""
    clips = ("plain.mp4", "front.mp4", "turned.mov", "clip.mkv", "clip.webm")
    for number in _forever():
        name = rng.choice(clips)
        target = rng.choice((".mkv", ".mp4", ".ts", ".avi", ".mov"))
        edit = rng.choice((_drop, _shuffle, _no_keys, _wild_times, _double))
        make = lambda w=bases[name], t=target, e=edit, s=rng.random(): remuxed(w, t, e, random.Random(s))  # noqa: E731
        yield Case(
            f"packets: {edit.__name__.strip('_').replace('_', ' ')}", f"{number}-{Path(name).stem}{target}", make
        )


def remuxed(
    whole: bytes, suffix: str, edit: Callable[[list[av.Packet], random.Random], list[av.Packet]], rng: random.Random
) -> bytes:
    """The video of a file in another container, its packets edited; those no muxer takes are left out."""
    formats = {".mkv": "matroska", ".ts": "mpegts"}
    result = io.BytesIO()
    with av.open(io.BytesIO(whole), "r") as given:
        stream = given.streams.video[0]
        kept = [packet for packet in given.demux(stream) if packet.size]
        # ValueError: the container cannot hold this codec
        with suppress(FFmpegError, ValueError), av.open(result, "w", format=formats.get(suffix, suffix[1:])) as out:
            copy = out.add_stream_from_template(stream)
            for packet in edit(kept, rng):
                packet.stream = copy
                with suppress(FFmpegError):
                    out.mux(packet)
    return result.getvalue()


def _drop(given: list[av.Packet], rng: random.Random) -> list[av.Packet]:
    return [packet for packet in given if rng.random() < 0.6]


def _shuffle(given: list[av.Packet], rng: random.Random) -> list[av.Packet]:
    times = [(packet.pts, packet.dts) for packet in given]
    rng.shuffle(given)
    for packet, (pts, dts) in zip(given, times, strict=True):
        packet.pts, packet.dts = pts, dts
    return given


def _no_keys(given: list[av.Packet], rng: random.Random) -> list[av.Packet]:
    return [packet for packet in given if not packet.is_keyframe]


def _wild_times(given: list[av.Packet], rng: random.Random) -> list[av.Packet]:
    dts = rng.choice((-(2**40), 0, 2**31, 2**50))
    for packet in given:
        dts += rng.choice((1, 1, 1000, 2**33))
        packet.dts, packet.pts = dts, dts + rng.choice((0, 0, 2**34, 5))
    return given


def _double(given: list[av.Packet], rng: random.Random) -> list[av.Packet]:
    return [packet for packet in given for _ in range(rng.choice((1, 1, 3)))]


# Headers ------------------------------------------------------------------------------------------------------------


def headers(bases: dict[str, bytes], rng: random.Random) -> Iterator[Case]:
    """Sizes, durations, counts, time bases, rotations and offsets that cannot be."""
    isobmff = [name for name in bases if name.endswith((".mp4", ".mov", ".heic", ".avif"))]
    for number in _forever():
        kind = rng.randrange(4)
        if kind <= 1:
            name, names = rng.choice(isobmff), BOXES
        elif kind == 2:
            name, names = "clip.avi", RIFF
        else:
            name, names = rng.choice(("clip.mkv", "clip.webm")), list(EBML.values())
        data = bytearray(bases[name])
        for _ in range(rng.choice((1, 1, 2, 5))):
            mark = rng.choice(names)
            found = data.find(mark)
            if found >= 0:
                field = found + len(mark) + (rng.randrange(9) if kind == 3 else 4 * rng.randrange(-2, 22))
                _put(data, field, rng.choice(ABSURD))
        yield Case("absurd header", f"{number}-{name}", lambda d=bytes(data): d)


def boxes(bases: dict[str, bytes], rng: random.Random) -> Iterator[Case]:
    """Boxes in boxes in boxes, edit lists without end, samples without number."""
    whole = bases["front.mp4"]
    for depth in (10, 1000, 100_000):
        yield Case("nested boxes", f"deep-{depth}.mp4", lambda d=depth: whole[:32] + _nested(b"moov", d) + whole[32:])
        yield Case("nested boxes", f"udta-{depth}.mp4", lambda d=depth: whole + _nested(b"udta", d))
    for mark in (b"elst", b"stts", b"ctts", b"stsz", b"stsc", b"stco"):
        for count in (2**16, 2**24, 2**31 - 1, 2**32 - 1):
            yield Case("absurd counts", f"{mark.decode()}-{count}.mp4", lambda m=mark, c=count: _counted(whole, m, c))
    head = bases["clip.mkv"][:64]
    for tag in (b"\xa3", b"\xec", b"\x1f\x43\xb6\x75"):
        yield Case("nested boxes", f"{tag.hex()}.mkv", lambda t=tag: head + (t + b"\x01" + b"\xff" * 7) * 9999)


def _nested(kind: bytes, depth: int) -> bytes:
    return b"".join(struct.pack(">I", min(8 * (depth - k), 2**31)) + kind for k in range(depth))


def _counted(whole: bytes, mark: bytes, count: int) -> bytes:
    data = bytearray(whole)
    found = data.find(mark)
    _put(data, found + 8 + (4 if mark == b"stsz" else 0), count)
    return bytes(data)


def _put(data: bytearray, place: int, value: int) -> None:
    if 0 <= place <= len(data) - 4:
        data[place : place + 4] = struct.pack(">I", value)


# Bombs --------------------------------------------------------------------------------------------------------------


def bombs(bases: dict[str, bytes], rng: random.Random) -> Iterator[Case]:
    """Little in the file, much in memory."""
    screens = ((65500, 65500), (8192, 8192), (65535, 1), (1, 65535), (0, 0))
    pngs = [
        Case("bomb: png", f"{s}-{d}-{c}.png", partial(_png, s, d, c, min(s, 20_000)))
        for s in (20_000, 8000, 60_000, 2**31 - 1)
        for d, c in ((8, 2), (16, 6), (1, 0))
    ]
    texts = [
        Case("bomb: text", f"{chunk.decode()}.png", lambda c=chunk: _png(16, 8, 2, 16, extra=_zipped(c)))
        for chunk in (b"zTXt", b"iTXt", b"iCCP", b"eXIf")
    ]
    gifs = [
        Case("bomb: gif", "screen.gif", partial(_gif, 65535, 65535, 1)),
        Case("bomb: gif", "frames.gif", partial(_gif, 64, 64, 20_000)),
        Case("bomb: gif", "both.gif", partial(_gif, 8000, 8000, 5000)),
    ]
    jpegs = [Case("bomb: jpeg", f"{w}x{h}.jpg", partial(_jpeg, bases["photo.jpg"], w, h)) for w, h in screens]
    bmps = [Case("bomb: bmp", f"{w}x{h}.bmp", partial(_bmp, w, h)) for w, h in screens]
    webps = [Case("bomb: webp", f"{w}x{h}.webp", partial(_webp, bases["moving.webp"], w, h)) for w, h in screens]
    tiffs = [Case("bomb: tiff", f"loop-{pages}.tif", partial(_tiff_loop, pages)) for pages in (5000, 2)]
    videos = [Case("bomb: video", f"{side}.mp4", partial(_black, side, 2)) for side in (4096, 8192)]
    videos.append(Case("bomb: video", "many.mp4", partial(_black, 16, 30_000)))
    return _in_turn([iter(kind) for kind in (pngs, texts, gifs, jpegs, bmps, webps, tiffs, videos)])


def _png(side: int, depth: int, colour: int, rows: int, extra: bytes = b"") -> bytes:
    squeeze = zlib.compressobj(1)
    channels = {0: 1, 2: 3, 6: 4}[colour]
    row = bytes(1 + min(side, 60_000) * depth * channels // 8)
    many = max(1, 2**20 // len(row))
    data = b"".join(squeeze.compress(row * many) for _ in range(min(rows, 2000) // many + 1)) + squeeze.flush()
    header = struct.pack(">IIBBBBB", side, side, depth, colour, 0, 0, 0)
    chunks = _chunk(b"IHDR", header) + extra + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _zipped(kind: bytes) -> bytes:
    """A chunk of text that unpacks to 200 MB."""
    squeeze = zlib.compressobj(9)
    data = b"".join(squeeze.compress(bytes(2**20)) for _ in range(200)) + squeeze.flush()
    head = {b"zTXt": b"a\0\0", b"iTXt": b"a\0\1\0\0\0", b"iCCP": b"a\0\0", b"eXIf": b"MM\0*\0\0\0\x08\xff\xff"}[kind]
    return _chunk(kind, head + data)


def _gif(width: int, height: int, frames: int) -> bytes:
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    loop = b"\x21\xff\x0bNETSCAPE2.0\x03\x01\0\0\0"
    frame = b"\x21\xf9\x04\x04\x01\0\0\0" + b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\0"
    return head + loop + frame * frames + b"\x3b"


def _jpeg(whole: bytes, width: int, height: int) -> bytes:
    data = bytearray(whole)
    found = data.find(b"\xff\xc0")
    data[found + 5 : found + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def _bmp(width: int, height: int) -> bytes:
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + info + bytes(100)


def _webp(whole: bytes, width: int, height: int) -> bytes:
    data = bytearray(whole)
    found = data.find(b"VP8X")
    data[found + 12 : found + 18] = (max(width, 1) - 1).to_bytes(3, "little") + (max(height, 1) - 1).to_bytes(
        3, "little"
    )
    return bytes(data)


def _tiff_loop(pages: int) -> bytes:
    """Directories that lead to one another and back."""
    entry = struct.pack("<HHII", 256, 4, 1, 64) + struct.pack("<HHII", 257, 4, 1, 64)
    size = 2 + len(entry) + 4
    directories = [
        struct.pack("<H", 2) + entry + struct.pack("<I", 8 + size * ((number + 1) % pages)) for number in range(pages)
    ]
    return b"II*\0" + struct.pack("<I", 8) + b"".join(directories)


def _black(side: int, frames: int) -> bytes:
    result = io.BytesIO()
    with av.open(result, "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=30, options={"preset": "ultrafast", "threads": "2"})
        stream.width, stream.height, stream.pix_fmt = side, side, "yuv420p"
        picture = av.VideoFrame.from_ndarray(np.zeros((side * 3 // 2, side), np.uint8), format="yuv420p")
        for number in range(frames):
            picture.pts = number
            out.mux(stream.encode(picture))
        out.mux(stream.encode())
    return result.getvalue()


# References, streams, sizes -----------------------------------------------------------------------------------------


def references(bases: dict[str, bytes], rng: random.Random) -> Iterator[Case]:
    """Files that name other files, the network or themselves, under the name of a video."""
    texts = {
        "hls-self": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{name}\n#EXT-X-ENDLIST\n",
        "hls-file": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
        "hls-net": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n",
        "hls-key": '#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="file:///etc/passwd"\n#EXTINF:9,\n{name}\n',
        "concat": "ffconcat version 1.0\nfile {name}\nfile /etc/passwd\n",
        "subfile": "subfile,,start,0,end,0,,:/etc/passwd\n",
        "sdp": "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video 9 RTP/AVP 96\r\n",
        "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>{name}</BaseURL></MPD>',
        "xxe": '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg>&x;</svg>',
        "laughs": '<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]><svg>&b;&b;&b;</svg>',
        "asx": '<asx version="3.0"><entry><ref href="{name}"/></entry></asx>',
        "smil": '<smil><body><video src="{name}"/></body></smil>',
        "script": "#!/bin/sh\nrm -rf /tmp/nothing\n",
        "imf": '<?xml version="1.0"?><CompositionPlaylist xmlns="http://www.smpte-ra.org/schemas/2067-3/2013"/>',
        "url": "[InternetShortcut]\nURL=file:///etc/passwd\n",
        "avisynth": 'DirectShowSource("{name}")\n',
        "vapoursynth": "import vapoursynth\n",
        "ffmeta": ";FFMETADATA1\ntitle=x\n",
    }
    for kind, text in texts.items():
        for suffix in (".mp4", ".jpg", ".m3u8"):
            name = f"{kind}{suffix}"
            yield Case("reference", name, lambda t=text, n=name: t.replace("{name}", n).encode())
    for target in (b"file:///etc/passwd\0", b"http://127.0.0.1:9/\0", b"data.mp4\0"):
        yield Case("reference", f"dref-{len(target)}.mp4", lambda t=target: _external(bases["plain.mp4"], t))
        link = bytes(4) + b"url " + struct.pack(">I", len(target)) + target
        for kind in (b"rdrf", b"rmda", b"rmra", b"moov"):
            link = _box(kind, link)
        yield Case("reference", f"rmra-{len(target)}.mov", lambda m=link: _box(b"ftyp", b"qt  \0\0\0\0qt  ") + m)
    linked = bases["clip.mkv"].replace(b"\x73\xa4", b"\x3c\xb9\x23", 1)  # its own id as the id of the next part
    yield Case("reference", "linked.mkv", lambda: linked)


def _box(kind: bytes, contents: bytes) -> bytes:
    return struct.pack(">I", 8 + len(contents)) + kind + contents


def _external(whole: bytes, target: bytes) -> bytes:
    """A movie whose samples are said to lie in another file."""
    data = bytearray(whole)
    found = data.find(b"url \0\0\0\x01")
    if found >= 0:
        data[found + 4 : found + 8] = bytes(4)
    return bytes(data) + _box(b"free", target)


def streams(bases: dict[str, bytes], rng: random.Random) -> Iterator[Case]:
    """Hundreds to ten thousands of streams."""
    for count in (50, 200, 2000, 10_000):
        yield Case("streams", f"{count}.mp4", lambda c=count: _tracks(bases["front.mp4"], c))
        yield Case("streams", f"{count}.ts", lambda c=count: _programs(bases["clip.ts"], c))
        yield Case("streams", f"{count}.avi", lambda c=count: _put_all(bases["clip.avi"], b"avih", 24, c))


def _tracks(whole: bytes, count: int) -> bytes:
    """The first track's box again and again."""
    moov, trak = whole.find(b"moov") - 4, whole.find(b"trak") - 4
    (length,) = struct.unpack(">I", whole[trak : trak + 4])
    (size,) = struct.unpack(">I", whole[moov : moov + 4])
    more = whole[trak : trak + length] * count
    return (
        whole[:moov]
        + struct.pack(">I", size + len(more))
        + whole[moov + 4 : trak + length]
        + more
        + whole[trak + length :]
    )


def _programs(whole: bytes, count: int) -> bytes:
    """Packets under ever new numbers of elementary streams."""
    packet = bytearray(whole[188 * 3 : 188 * 4])
    more = []
    for number in range(min(count, 8000)):
        packet[1:3] = struct.pack(">H", 0x4000 | (0x100 + number) & 0x1FFF)
        more.append(bytes(packet))
    return whole + b"".join(more) + whole


def _put_all(whole: bytes, mark: bytes, offset: int, value: int) -> bytes:
    data = bytearray(whole)
    place = data.find(mark) + 8 + offset
    data[place : place + 4] = struct.pack("<I", value)
    return bytes(data)


def sizes(bases: dict[str, bytes], rng: random.Random) -> Iterator[Case]:
    """A resolution that changes in mid-stream, once or often."""
    for number in range(12):
        shapes = [(16 * rng.randrange(1, 60), 16 * rng.randrange(1, 40)) for _ in range(rng.choice((2, 3, 8)))]
        suffix = rng.choice((".h264", ".ts", ".mpg", ".mkv"))
        yield Case(
            "changing size", f"{number}{suffix}", lambda s=shapes, x=suffix: b"".join(_short(size, x) for size in s)
        )


def _short(size: tuple[int, int], suffix: str) -> bytes:
    formats = {".h264": "h264", ".ts": "mpegts", ".mpg": "mpeg", ".mkv": "matroska"}
    codec = "mpeg2video" if suffix == ".mpg" else "libx264"
    result = io.BytesIO()
    with av.open(result, "w", format=formats[suffix]) as out:
        stream = out.add_stream(codec, rate=30, options=media.QUICK.get(codec, {}))
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for image in media.portrait_frames(8, size):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        out.mux(stream.encode())
    return result.getvalue()


# Disguises ----------------------------------------------------------------------------------------------------------


def polyglots(bases: dict[str, bytes], rng: random.Random) -> Iterator[Case]:
    """Files that are two things at once."""
    parts = {
        "zip": b"PK\x05\x06" + bytes(18),
        "html": b"<html><script>alert(1)</script></html>",
        "pdf": b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n",
        "elf": b"\x7fELF\x02\x01\x01" + bytes(57),
        "js": b"GIF89a=1;alert(1);//",
        **{name: data for name, data in bases.items() if name in ("photo.jpg", "photo.png", "plain.mp4", "clip.mkv")},
    }
    for name, whole in bases.items():
        for kind, part in parts.items():
            yield Case("polyglot", f"{kind}-before-{name}", lambda w=whole, p=part: p + w)
            yield Case("polyglot", f"{kind}-after-{name}", lambda w=whole, p=part: w + p)
    for name, whole in bases.items():
        for suffix in (".jpg", ".mp4", ".txt", ".exe"):
            yield Case("wrong suffix", f"{name}{suffix}", lambda w=whole: w)


def names(bases: dict[str, bytes], rng: random.Random) -> Iterator[Case]:
    """Names and tags full of HTML, control characters and escapes."""
    for number, text in enumerate(NASTY):
        name = text.replace("/", "∕").replace("\0", "")[:60]
        yield Case("nasty name", f"{number}{name}.mp4", lambda: bases["plain.mp4"])
        yield Case("nasty name", f"{number}{name}.png", lambda: b"\x89PNG nothing")
        for suffix in ("mp4", "mkv"):
            yield Case("nasty tags", f"{number}.{suffix}", lambda t=text, s=suffix: _tagged(bases["plain.mp4"], s, t))
        yield Case("nasty tags", f"{number}.png", lambda t=text: _commented(t))
    yield Case("nasty tags", "long.mkv", lambda: _tagged(bases["plain.mp4"], "mkv", "x" * 2_000_000))
    yield Case("nasty tags", "many.mkv", lambda: _tagged(bases["plain.mp4"], "mkv", "x", count=20_000))


def _tagged(whole: bytes, suffix: str, text: str, count: int = 1) -> bytes:
    text = text.replace("\0", "")
    result = io.BytesIO()
    options = {"movflags": "use_metadata_tags"} if suffix == "mp4" else {}
    kind = "matroska" if suffix == "mkv" else suffix
    with av.open(io.BytesIO(whole), "r") as given, av.open(result, "w", format=kind, options=options) as out:
        keys = ("title", "comment", "encoder", "make", "model", text[:40] or "key")
        out.metadata.update(dict.fromkeys(keys, text) | {f"key{number}": text for number in range(count - 1)})
        stream = given.streams.video[0]
        copy = out.add_stream_from_template(stream)
        for packet in given.demux(stream):
            if packet.size:
                packet.stream = copy
                out.mux(packet)
    return result.getvalue()


def _commented(text: str) -> bytes:
    from PIL.PngImagePlugin import PngInfo

    words, result, exif = PngInfo(), io.BytesIO(), Image.Exif()
    words.add_text("Comment", text)
    words.add_text("parameters", text)
    exif[0x010F], exif[0x0131] = text, text
    Image.fromarray(media.person()).resize((128, 128)).save(result, "png", pnginfo=words, exif=exif)
    return result.getvalue()


def _forever() -> Iterator[int]:
    number = 0
    while True:
        yield number
        number += 1
