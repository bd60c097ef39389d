"""Offers aiortc's test tracks to the URL in argv[1] and sends them until killed."""
import asyncio
import sys
import urllib.request

from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, VideoStreamTrack


async def main():
    pc = RTCPeerConnection()
    pc.addTrack(AudioStreamTrack())
    pc.addTrack(VideoStreamTrack())
    await pc.setLocalDescription(await pc.createOffer())
    request = urllib.request.Request(sys.argv[1], data=pc.localDescription.sdp.encode(), method="POST")
    answer = await asyncio.to_thread(lambda: urllib.request.urlopen(request).read().decode())
    await pc.setRemoteDescription(RTCSessionDescription(answer, "answer"))
    await asyncio.sleep(60)


asyncio.run(main())
