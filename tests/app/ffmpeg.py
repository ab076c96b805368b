"""FFmpeg's WHIP muxer, until stdin ends: `python -m tests.app.ffmpeg URL TOKEN CERT KEY`.

Does what README says with the `ffmpeg` program. A process of its own, because PyAV keeps the
interpreter to itself while it connects.
"""

import sys
import threading
import time

import av
import numpy as np

from tests.sounds import SAMPLE_RATE, speech_like


def main(url: str, token: str, cert: str, key: str) -> None:
    """Publish speech in real time."""
    ended = threading.Event()

    def wait_for_the_end() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    speech = speech_like(8.0)
    options = {"authorization": token, "cert_file": cert, "key_file": key}
    with av.open(url, "w", format="whip", options=options) as output:
        stream = output.add_stream("libopus", rate=SAMPLE_RATE, layout="stereo")
        began, sent = time.monotonic(), 0
        while not ended.is_set():
            sound = np.take(speech, np.arange(sent, sent + 960), mode="wrap")
            pair = np.repeat((sound * 32767).astype(np.int16), 2)[np.newaxis]
            frame = av.AudioFrame.from_ndarray(pair, format="s16", layout="stereo")
            frame.sample_rate, frame.pts = SAMPLE_RATE, sent
            output.mux(stream.encode(frame))
            sent += 960
            time.sleep(max(0.0, began + sent / SAMPLE_RATE - time.monotonic()))


if __name__ == "__main__":
    main(*sys.argv[1:])
