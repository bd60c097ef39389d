"""What the scripts for aiortc and GStreamer share: WHIP's and WHEP's requests, and a report of what is received.

The pictures are those of sfu-server/tests/support/marker.rs: 8 x 4 cells, corners fixed, 6 bits of id, 14 of a counter and a
CRC-8. A sound is told by its pitch.
"""
import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request

COLUMNS, ROWS = 8, 4
CORNERS = {0: 1, 7: 0, 24: 1, 31: 1}


def post(url, sdp, patience=15):
    """Posts an offer: (answer, URL of the session). Asks again while nobody publishes."""
    end = time.monotonic() + patience
    while True:
        request = urllib.request.Request(url, sdp.encode(), {"Content-Type": "application/sdp"}, method="POST")
        try:
            with urllib.request.urlopen(request) as response:
                return response.read().decode(), urllib.parse.urljoin(url, response.headers["Location"])
        except urllib.error.HTTPError as error:
            if error.code != 409 or time.monotonic() > end:
                raise RuntimeError(f"{error.code}: {error.read().decode()}") from error
            time.sleep(0.5)


def delete(session):
    urllib.request.urlopen(urllib.request.Request(session, method="DELETE")).close()


def crc8(content):
    crc = 0
    for bit in range(19, -1, -1):
        feedback = (crc >> 7) ^ (content >> bit & 1)
        crc = (crc << 1) & 0xFF ^ (0x07 if feedback else 0)
    return crc


def read_marker(luma, width, height, stride):
    """(id, counter) of a luma plane, None when it is no marker."""
    bits = 0
    for cell in range(COLUMNS * ROWS):
        x = (2 * (cell % COLUMNS) + 1) * width // (2 * COLUMNS)
        y = (2 * (cell // COLUMNS) + 1) * height // (2 * ROWS)
        white = luma[y * stride + x] > 126
        if cell not in CORNERS:
            bits = bits * 2 + white
        elif CORNERS[cell] != white:
            return None
    content = bits >> 8
    return (content >> 14, content & 0x3FFF) if crc8(content) == bits & 0xFF else None


class Report:
    """Counts pictures and sounds, and writes the counts to a file as they change."""

    def __init__(self, path):
        self.path = path
        self.counts = {"frames": 0, "ids": [], "counters": 0, "width": 0, "samples": 0, "hz": 0.0}
        self.seen = set()
        self.written = 0.0
        self.sound = []

    def picture(self, luma, width, height, stride):
        marker = read_marker(luma, width, height, stride)
        if marker:
            self.seen.add(marker)
        self.counts["frames"] += 1
        self.counts["width"] = width
        self.counts["ids"] = sorted({id for id, _ in self.seen})
        self.counts["counters"] = len(self.seen)
        self.write()

    def sound_of(self, samples, rate):
        """`samples` of one channel. The pitch is measured over half seconds, by counting how often they change sign."""
        self.counts["samples"] += len(samples)
        self.sound.extend(samples)
        if len(self.sound) >= rate // 2:
            pairs = zip(self.sound, self.sound[1:])
            crossings = sum((before < 0) != (after < 0) for before, after in pairs)
            self.counts["hz"] = crossings / 2 * rate / len(self.sound)
            self.sound = []
        self.write()

    def write(self):
        if time.monotonic() - self.written < 0.2:
            return
        self.written = time.monotonic()
        with open(self.path + ".new", "w") as file:
            json.dump(self.counts, file)
        os.replace(self.path + ".new", self.path)
