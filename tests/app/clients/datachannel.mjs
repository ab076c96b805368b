// libdatachannel, OBS's WebRTC library, as OBS uses it: publishes sound and a picture over WHIP.
// usage: node datachannel.mjs URL TOKEN VIDEO_CODEC OPUS_PAYLOAD_TYPE < packets, each as 2 bytes of length and Opus
// SIGTERM ends the stream before the packets do.
import nodeDataChannel from "node-datachannel";

const [url, token, videoCodec, payloadType] = process.argv.slice(2);
const SSRC = 4711;

const pc = new nodeDataChannel.PeerConnection("publisher", {
  iceServers: [],
  bindAddress: "127.0.0.1",
  disableAutoNegotiation: true,
});
const audio = new nodeDataChannel.Audio("0", "SendOnly");
audio.addOpusCodec(Number(payloadType));
audio.addSSRC(SSRC, "hushcast-test", "stream", "audio");
const sound = pc.addTrack(audio);
const video = new nodeDataChannel.Video("1", "SendOnly");
video[`add${videoCodec}Codec`](96);
video.addSSRC(SSRC + 1, "hushcast-test", "stream", "video");
pc.addTrack(video);

const gathered = new Promise((resolve) => {
  pc.onGatheringStateChange((state) => state === "complete" && resolve());
});
const connected = new Promise((resolve, reject) => {
  pc.onStateChange((state) => {
    if (state === "connected") resolve();
    if (["failed", "closed"].includes(state)) reject(new Error(state));
  });
});
pc.setLocalDescription("offer");
await gathered;
const authorization = `Bearer ${token}`;
const answer = await fetch(url, {
  method: "POST",
  headers: { authorization, "content-type": "application/sdp" },
  body: pc.localDescription().sdp,
});
if (answer.status !== 201) throw new Error(`${answer.status} ${await answer.text()}`);
pc.setRemoteDescription(await answer.text(), "answer");
await connected;

const chunks = [];
for await (const chunk of process.stdin) chunks.push(chunk);
const bytes = Buffer.concat(chunks);
const packets = [];
for (let at = 0; at < bytes.length; at += 2 + bytes.readUInt16BE(at)) {
  packets.push(bytes.subarray(at + 2, at + 2 + bytes.readUInt16BE(at)));
}
let over = false;
process.on("SIGTERM", () => { over = true; });
for (let n = 0; n < packets.length && !over; n += 1) {
  const header = Buffer.alloc(12);
  header[0] = 0x80;
  header[1] = Number(payloadType);
  header.writeUInt16BE(n & 0xffff, 2);
  header.writeUInt32BE((n * 960) >>> 0, 4);
  header.writeUInt32BE(SSRC, 8);
  sound.sendMessageBinary(Buffer.concat([header, packets[n]]));
  await new Promise((resolve) => setTimeout(resolve, 20));
}
const left = await fetch(new URL(answer.headers.get("location"), url), {
  method: "DELETE",
  headers: { authorization },
});
process.exit(left.status === 200 ? 0 : 1);
