#!/usr/bin/env python3
"""Makes the media that the load-test client sends. Run it where `imageio-ffmpeg` is installed; the outcome is committed.

tone.opus.bin    one second of a 440 Hz tone: 50 Opus packets of 20 ms, each after its length (u16, big endian)
pattern_{q,h,f}.ivf   four seconds of a moving pattern at 30 fps, one keyframe, three resolutions

The top of each picture carries a row of 16 squares, black or white: 8 bits of frame number, 2 bits of layer,
their complement in the last 6 (the low 6 bits of the frame number, inverted).
"""
import struct, subprocess, imageio_ffmpeg

FFMPEG = imageio_ffmpeg.get_ffmpeg_exe()
FPS, FRAMES = 30, 120
LAYERS = [("q", 160, 90, 60), ("h", 320, 180, 110), ("f", 640, 360, 190)]


def picture(n, layer, width, height):
    """One I420 picture."""
    square = width // 16
    bits = [(n >> i) & 1 for i in range(8)] + [(layer >> i) & 1 for i in range(2)] + [1 - ((n >> i) & 1) for i in range(6)]
    luma = bytearray()
    marker = b"".join(bytes([235 if bit else 16]) * square for bit in bits).ljust(width, b"\x10")
    # A bright bar that moves one picture width in four seconds, and a disc that circles.
    bar = (n * width) // FRAMES
    for y in range(height):
        if y < square:
            luma += marker
            continue
        row = bytearray([60 + (y * 100) // height]) * width
        for x in range(bar, min(bar + square, width)):
            row[x] = 220
        luma += row
    shift = n * 2
    u = bytes((128 + ((x + shift) * 64) // width) % 256 for x in range(width // 2)) * (height // 2)
    v = bytes([110]) * (width // 2 * (height // 2))
    return bytes(luma) + u + v


def video(name, layer, width, height, kbps):
    raw = b"".join(picture(n, layer, width, height) for n in range(FRAMES))
    subprocess.run(
        [FFMPEG, "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{width}x{height}", "-r", str(FPS),
         "-i", "-", "-c:v", "libvpx", "-b:v", f"{kbps}k", "-minrate", f"{kbps}k", "-maxrate", f"{kbps}k", "-deadline", "realtime",
         "-cpu-used", "4", "-lag-in-frames", "0", "-auto-alt-ref", "0", "-g", "9999", "-keyint_min", "9999", "-threads", "1",
         "-fflags", "+bitexact", f"pattern_{name}.ivf"],
        input=raw, check=True)


def ogg_packets(data):
    packets, partial, at = [], b"", 0
    while at < len(data):
        assert data[at:at + 4] == b"OggS"
        count = data[at + 26]
        lacing = data[at + 27:at + 27 + count]
        at += 27 + count
        for size in lacing:
            partial += data[at:at + size]
            at += size
            if size < 255:
                packets.append(partial)
                partial = b""
    return packets


def audio():
    ogg = subprocess.run(
        [FFMPEG, "-v", "error", "-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000:duration=3", "-c:a", "libopus",
         "-b:a", "32k", "-vbr", "off", "-frame_duration", "20", "-application", "audio", "-f", "ogg", "-"],
        capture_output=True, check=True).stdout
    packets = ogg_packets(ogg)[2:]
    # The second second: the encoder has settled.
    with open("tone.opus.bin", "wb") as out:
        for packet in packets[50:100]:
            out.write(struct.pack(">H", len(packet)) + packet)


audio()
for i, (name, width, height, kbps) in enumerate(LAYERS):
    video(name, i, width, height, kbps)
