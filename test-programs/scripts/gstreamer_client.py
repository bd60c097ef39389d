"""GStreamer's webrtcbin by WHIP and WHEP, until it is told to end.

publish URL CODEC PICTURE HZ   sends a capture file once, and a tone
play URL CODEC REPORT          writes what it receives to a file
"""
import array
import signal
import sys

import gi
import received

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

# Codec -> (its encoder and packets, its packets and decoder, what its payload type says).
VIDEO = {
    "VP8": ("vp8enc deadline=1 keyframe-max-dist=60 ! rtpvp8pay picture-id-mode=15-bit", "rtpvp8depay ! vp8dec", ""),
    "VP9": (
        "vp9enc deadline=1 cpu-used=8 lag-in-frames=0 keyframe-max-dist=60 ! rtpvp9pay picture-id-mode=15-bit",
        "rtpvp9depay ! vp9dec",
        "",
    ),
    "H264": (
        "openh264enc gop-size=60 ! video/x-h264,profile=constrained-baseline ! rtph264pay config-interval=-1"
        " aggregate-mode=zero-latency",
        "rtph264depay ! h264parse ! openh264dec",
        ",packetization-mode=(string)1,profile-level-id=(string)42e01f",
    ),
}


def video_of(codec):
    encode, decode, parameters = VIDEO[codec.upper()]
    return encode, decode, RTP.format(media="video", name=codec.upper(), pt=96, rate=90000) + parameters


RTP = "application/x-rtp,media={media},encoding-name={name},payload={pt},clock-rate={rate}"


class Client:
    def __init__(self, url, pipeline):
        self.url = url
        self.session = None
        self.loop = GLib.MainLoop()
        self.pipeline = Gst.Pipeline()
        self.parts = Gst.parse_bin_from_description("webrtcbin name=peer bundle-policy=max-bundle " + pipeline, False)
        self.pipeline.add(self.parts)
        self.peer = self.parts.get_by_name("peer")
        self.peer.connect("on-negotiation-needed", self.negotiate)

    def run(self):
        bus = self.pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message::error", lambda _, message: self.fail(message.parse_error()))
        GLib.unix_signal_add(GLib.PRIORITY_DEFAULT, signal.SIGINT, self.loop.quit)
        self.pipeline.set_state(Gst.State.PLAYING)
        self.loop.run()
        if self.session:
            received.delete(self.session)
        self.pipeline.set_state(Gst.State.NULL)

    def fail(self, error):
        print(error, file=sys.stderr, flush=True)
        self.loop.quit()

    def negotiate(self, peer):
        peer.emit("create-offer", None, Gst.Promise.new_with_change_func(self.on_offer, None))

    def on_offer(self, promise, _):
        # The offer lives in the reply: it has to stay in a variable.
        reply = promise.get_reply()
        offer = reply.get_value("offer")
        self.peer.emit("set-local-description", offer, Gst.Promise.new())
        try:
            answer, self.session = received.post(self.url, offer.sdp.as_text())
        except RuntimeError as error:
            return self.fail(error)
        _, message = GstSdp.SDPMessage.new_from_text(answer)
        description = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, message)
        self.peer.emit("set-remote-description", description, Gst.Promise.new())


def publish(url, codec, picture, hz):
    encode, _, video = video_of(codec)
    audio = RTP.format(media="audio", name="OPUS", pt=97, rate=48000) + ",encoding-params=(string)2"
    client = Client(
        url,
        f"filesrc location={picture} ! y4mdec ! clocksync ! videoconvert ! video/x-raw,format=I420"
        f" ! {encode} ! {video} ! peer."
        f" audiotestsrc is-live=true freq={hz} volume=0.3 ! audio/x-raw,rate=48000,channels=2 ! opusenc ! rtpopuspay"
        f" ! {audio} ! peer.",
    )
    for index in range(2):
        transceiver = client.peer.emit("get-transceiver", index)
        transceiver.set_property("direction", GstWebRTC.WebRTCRTPTransceiverDirection.SENDONLY)
    client.run()


def play(url, codec, path):
    report = received.Report(path)
    _, decode_picture, video = video_of(codec)
    client = Client(url, "")
    receiving = GstWebRTC.WebRTCRTPTransceiverDirection.RECVONLY
    for caps in [
        RTP.format(media="audio", name="OPUS", pt=97, rate=48000) + ",encoding-params=(string)2",
        video + ",rtcp-fb-nack-pli=true",
    ]:
        client.peer.emit("add-transceiver", receiving, Gst.Caps.from_string(caps))

    def on_picture(sink):
        sample = sink.emit("pull-sample")
        size = sample.get_caps().get_structure(0)
        width, height = size.get_value("width"), size.get_value("height")
        luma = sample.get_buffer().extract_dup(0, sample.get_buffer().get_size())
        # Lines of a plane are padded to four bytes.
        report.picture(luma, width, height, (width + 3) // 4 * 4)
        return Gst.FlowReturn.OK

    def on_sound(sink):
        buffer = sink.emit("pull-sample").get_buffer()
        report.sound_of(array.array("h", buffer.extract_dup(0, buffer.get_size())), 48000)
        return Gst.FlowReturn.OK

    def on_pad(_, pad):
        if pad.get_direction() != Gst.PadDirection.SRC:
            return
        sound = pad.get_current_caps().get_structure(0).get_string("media") == "audio"
        decode = "rtpopusdepay ! opusdec" if sound else decode_picture
        form = "audio/x-raw,format=S16LE,rate=48000,channels=1" if sound else "video/x-raw,format=GRAY8"
        convert = "audioconvert ! audioresample" if sound else "videoconvert"
        sink = f"{decode} ! {convert} ! {form} ! appsink name=sink emit-signals=true sync=false"
        part = Gst.parse_bin_from_description(sink, True)
        part.get_by_name("sink").connect("new-sample", on_sound if sound else on_picture)
        client.parts.add(part)
        part.sync_state_with_parent()
        pad.link(part.get_static_pad("sink"))

    client.peer.connect("pad-added", on_pad)
    client.run()


Gst.init(None)
{"publish": publish, "play": play}[sys.argv[1]](*sys.argv[2:])
