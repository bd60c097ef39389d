"""aiortc by WHIP and WHEP, until it is told to end.

publish URL CODEC PICTURE HZ   sends a capture file in a loop, and a tone
play URL REPORT                writes what it receives to a file
"""
import array
import asyncio
import fractions
import math
import signal
import sys
import time

import received
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.contrib.media import MediaPlayer
from aiortc.mediastreams import MediaStreamTrack
from av import AudioFrame

RATE = 48_000
FRAME = 960


class Tone(MediaStreamTrack):
    kind = "audio"

    def __init__(self, hz):
        super().__init__()
        self.hz = hz
        self.sample = 0
        self.start = time.monotonic()

    async def recv(self):
        wait = self.start + self.sample / RATE - time.monotonic()
        if wait > 0:
            await asyncio.sleep(wait)
        samples = (int(9000 * math.sin(2 * math.pi * self.hz * (self.sample + at) / RATE)) for at in range(FRAME))
        frame = AudioFrame(format="s16", layout="mono", samples=FRAME)
        frame.planes[0].update(array.array("h", samples).tobytes())
        frame.sample_rate = RATE
        frame.pts = self.sample
        frame.time_base = fractions.Fraction(1, RATE)
        self.sample += FRAME
        return frame


def publish(pc, codec, picture, hz):
    camera = pc.addTransceiver(MediaPlayer(picture, loop=True).video, direction="sendonly")
    codecs = RTCRtpSender.getCapabilities("video").codecs
    camera.setCodecPreferences([one for one in codecs if one.mimeType.lower() == f"video/{codec.lower()}"])
    pc.addTransceiver(Tone(float(hz)), direction="sendonly")


def play(pc, path):
    report = received.Report(path)
    pc.addTransceiver("audio", direction="recvonly")
    pc.addTransceiver("video", direction="recvonly")

    async def consume(track):
        while True:
            frame = await track.recv()
            if track.kind == "video":
                plane = frame.reformat(format="yuv420p").planes[0]
                report.picture(bytes(plane), frame.width, frame.height, plane.line_size)
            else:
                channels = len(frame.layout.channels)
                samples = array.array("h", bytes(frame.planes[0])[: 2 * frame.samples * channels])
                report.sound_of(samples[::channels], frame.sample_rate)

    @pc.on("track")
    def on_track(track):
        task = asyncio.ensure_future(consume(track))
        task.add_done_callback(lambda done: None if done.cancelled() else print(repr(done.exception())))


async def main():
    role, url, *rest = sys.argv[1:]
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, ended.set)
    # Its default is a STUN server on the internet, which costs seconds where there is none.
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    {"publish": publish, "play": play}[role](pc, *rest)
    await pc.setLocalDescription(await pc.createOffer())
    answer, session = await asyncio.to_thread(received.post, url, pc.localDescription.sdp)
    await pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    await ended.wait()
    await asyncio.to_thread(received.delete, session)
    await pc.close()


asyncio.run(main())
