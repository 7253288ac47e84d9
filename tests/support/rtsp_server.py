"""A real RTSP server on loopback, GStreamer's, in a process of its own that can be killed.

Run by the system's Python, whose package python3-gi speaks to GStreamer:
``python3 rtsp_server.py PORT [WIDTHxHEIGHT]`` serves a moving test picture at /test and prints a
line when it is ready.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Serve until killed."""
    import gi  # type: ignore[import-not-found]

    gi.require_version("Gst", "1.0")
    gi.require_version("GstRtspServer", "1.0")
    from gi.repository import GLib, Gst, GstRtspServer  # type: ignore[import-not-found]

    port, size = sys.argv[1], (sys.argv[2] if len(sys.argv) > 2 else "320x240")
    width, height = size.split("x")
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(
        "( videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,framerate=25/1,"
        f"width={width},height={height} ! jpegenc ! rtpjpegpay name=pay0 pt=26 )"
    )
    factory.set_shared(True)
    server.get_mount_points().add_factory("/test", factory)
    server.attach(None)
    print("ready", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
