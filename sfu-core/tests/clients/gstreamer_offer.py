"""Offers a VP8 test picture from GStreamer's webrtcbin to the URL in argv[1] and sends it until killed."""
import sys
import urllib.request

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

Gst.init(None)
pipeline = Gst.parse_launch(
    "webrtcbin name=peer bundle-policy=max-bundle videotestsrc is-live=true ! video/x-raw,width=320,height=240"
    " ! vp8enc deadline=1 ! rtpvp8pay ! application/x-rtp,media=video,encoding-name=VP8,payload=96 ! peer."
)
peer = pipeline.get_by_name("peer")


def on_offer(promise, _):
    # The offer lives in the reply: it has to stay in a variable.
    reply = promise.get_reply()
    offer = reply.get_value("offer")
    text = offer.sdp.as_text()
    peer.emit("set-local-description", offer, Gst.Promise.new())
    request = urllib.request.Request(sys.argv[1], data=text.encode(), method="POST")
    answer = urllib.request.urlopen(request).read().decode()
    _, message = GstSdp.SDPMessage.new_from_text(answer)
    description = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, message)
    peer.emit("set-remote-description", description, Gst.Promise.new())


def on_negotiation_needed(element):
    element.emit("create-offer", None, Gst.Promise.new_with_change_func(on_offer, None))


peer.connect("on-negotiation-needed", on_negotiation_needed)
pipeline.set_state(Gst.State.PLAYING)
GLib.timeout_add_seconds(60, sys.exit)
GLib.MainLoop().run()
