"""Two aiortc peers in one room of the server at argv[1] (ws://…/ws): data channels of every kind between them, and a
third participant without any. Prints what it has checked; ends with 0 only if all of it holds."""
import asyncio
import json
import sys

import websockets
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

PATIENCE_S = 20


class Participant:
    """A socket, and a peer connection unless it is to have none."""

    def __init__(self, name):
        self.name = name
        # Its default is a STUN server on the internet, which costs seconds where there is none.
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.events = asyncio.Queue()
        self.heard = asyncio.Queue()
        self.pc.on("datachannel", self.listen)

    def listen(self, channel):
        channel.on("message", lambda message: self.heard.put_nowait((channel, message)))

    async def join(self, url, channels):
        self.socket = await websockets.connect(url, max_size=None)
        self.channels = {}
        for label, options in channels.items():
            self.channels[label] = self.pc.createDataChannel(label, **options)
            self.listen(self.channels[label])
        join = {"type": "join", "version": 1, "room": "aiortc", "identity": self.name}
        if channels:
            await self.pc.setLocalDescription(await self.pc.createOffer())
            join["offer"] = {"id": 1, "sdp": self.pc.localDescription.sdp}
        await self.socket.send(json.dumps(join))
        answered = asyncio.get_running_loop().create_future()
        self.reader = asyncio.create_task(self.read(answered))
        if channels:
            await asyncio.wait_for(answered, PATIENCE_S)
            await until(lambda: all(one.readyState == "open" for one in self.channels.values()))

    async def read(self, answered):
        async for text in self.socket:
            message = json.loads(text)
            if message["type"] == "joined":
                self.id = message["participant"]
            elif message["type"] == "answer":
                await self.pc.setRemoteDescription(RTCSessionDescription(message["sdp"], "answer"))
                answered.set_result(None)
            elif message["type"] in ("data", "data_refused"):
                self.events.put_nowait(message)

    async def hear(self):
        return await asyncio.wait_for(self.heard.get(), PATIENCE_S)


async def until(is_so):
    for _ in range(PATIENCE_S * 20):
        if is_so():
            return
        await asyncio.sleep(0.05)
    raise TimeoutError("not in time")


def binary(recipients, payload):
    ids = b"".join(int(one[1:]).to_bytes(8, "big") for one in recipients)
    return bytes([1, len(recipients)]) + ids + payload


async def main(url):
    ann, bob, eve = Participant("ann"), Participant("bob"), Participant("eve")
    lossy = {"ordered": False, "maxRetransmits": 0}
    await ann.join(url, {"chat": {}, "lossy": lossy, "timed": {"ordered": False, "maxPacketLifeTime": 500}})
    await bob.join(url, {"chat": {}})
    await eve.join(url, {})
    await until(lambda: hasattr(eve, "id"))

    ann.channels["chat"].send(json.dumps({"v": 1, "data": "hi"}))
    channel, message = await bob.hear()
    assert channel is bob.channels["chat"], channel.label
    assert json.loads(message) == {"v": 1, "from": ann.id, "data": "hi"}, message
    event = await asyncio.wait_for(eve.events.get(), PATIENCE_S)
    assert event == {"type": "data", "label": "chat", "from": ann.id, "data": "hi"}, event
    print("text reaches the channel of its label, and the socket of who has none")

    ann.channels["lossy"].send(json.dumps({"v": 1, "to": [bob.id], "data": 1}))
    channel, message = await bob.hear()
    assert (channel.label, channel.ordered, channel.maxRetransmits) == ("lossy", False, 0)
    assert json.loads(message) == {"v": 1, "from": ann.id, "private": True, "data": 1}, message
    ann.channels["timed"].send(json.dumps({"v": 1, "data": 2}))
    timed, _ = await bob.hear()
    assert (timed.label, timed.ordered, timed.maxPacketLifeTime) == ("timed", False, 500)
    channel.send(json.dumps({"v": 1, "data": "back"}))
    back, _ = await ann.hear()
    assert back is ann.channels["lossy"], back.label
    print("partially reliable channels are opened alike, and answered on")

    payload = bytes(index * 31 >> 3 & 255 for index in range(60_000))
    bob.channels["chat"].send(binary([ann.id], payload))
    _, message = await ann.hear()
    assert message == bytes([1, 1]) + int(bob.id[1:]).to_bytes(8, "big") + payload
    print("60 kB arrive byte for byte")

    for index in range(1000):
        bob.channels["chat"].send(json.dumps({"v": 1, "to": [ann.id], "data": index}))
    for index in range(1000):
        _, message = await ann.hear()
        assert json.loads(message)["data"] == index, (index, message)
    print("1,000 messages arrive in order")

    ann.channels["chat"].send("no envelope")
    event = await asyncio.wait_for(ann.events.get(), PATIENCE_S)
    assert event == {"type": "data_refused", "label": "chat", "reason": "malformed"}, event
    ann.channels["timed"].close()
    await until(lambda: ann.channels["timed"].readyState == "closed")
    print("refusals are named, and a channel closes")
    for one in (ann, bob, eve):
        one.reader.cancel()
        await one.socket.close()
        await one.pc.close()


asyncio.run(asyncio.wait_for(main(sys.argv[1]), 100))
