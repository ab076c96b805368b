/**
 * Everything that the pages say, in English: a section for each part of the product. What depends
 * on a number or a name is a function.
 */
export const en = {
  /** Words that several parts use. */
  common: {},
  /** Signing in and up, the account, sign-ins, blocks. */
  account: {},
  /** The frame: header, notices, addresses that lead nowhere, connection to the server. */
  shell: {},
  /** The user's own stream, and the check before it. */
  stream: {
    states: {
      off: "Off",
      connecting: "Connecting",
      live: "Live",
      reconnecting: "Reconnecting",
      muted: "Live, muted",
    },
    sentences: {
      off: "Nobody hears you until you press Start.",
      opening: "Opening your microphone.",
      connecting: "Connecting to the server.",
      unreachable: "hushcast cannot be reached. Still trying.",
      live: "Your friends can hear you.",
      newsAway:
        "Your friends can still hear you, but the server sends no news. Changes take effect later.",
      muted: "You are muted. Your friends hear silence.",
      systemMuted: "Your microphone is muted by the system or on the device: nobody hears you.",
      silent:
        "We cannot hear you. Your microphone sends only silence: check that it is switched on, or choose another one.",
      lost: "The connection was lost. Trying to get it back.",
      lostServer: "hushcast cannot be reached. Your friends do not hear you until it is back.",
      elsewhere: "This stream comes from another page or device.",
      elsewhereLost: "Your stream comes from another page or device, which has lost its connection.",
      ended: {
        stopped: "Your stream has ended. Nobody hears you now.",
        ended: "Your stream was ended from another page, or by the server.",
        absent: "Your stream ended while this device was asleep or offline. Do you want to go live again?",
        late: "Could not connect in time, so nothing was sent. Press Start to try again.",
        unheard:
          "The server received no sound from your microphone, so the stream did not start.",
        "taken over": "Your stream now comes from another page or device.",
        failed: "",
      },
    },
    listeners: (/** @type {number} */ count) => (count === 1 ? "1 listener" : `${count} listeners`),
    nobodyYet: "Nobody is listening yet",
    nobodyNow: "Nobody is listening right now",
    heading: "Your stream",
    start: "Start",
    startHere: "Stream from here",
    stop: "Stop",
    mute: "Mute",
    unmute: "Unmute",
    stopQuestion: "Stop your stream?",
    stopConsequence: (/** @type {number} */ count) =>
      count === 1 ? "One person is listening." : `${count} people are listening.`,
    title: "Title",
    titleHint: "Friends see it, and it names the recording",
    noiseReduction: "Noise reduction",
    noiseReductionHint: "Takes effect at once, for everybody",
    strength: "Strength",
    strengthAll: "Everything",
    strengthUpTo: (/** @type {number} */ limit) => `Up to ${limit} dB`,
    share: "Share the original sound",
    shareHint: "Friends can compare before and after",
    input: "Microphone",
    defaultDevice: "Default microphone",
    meters: { input: "Microphone", output: "Friends hear" },
    level: (/** @type {string} */ label) => `${label}, level`,
    noSound: "no sound",
    spectrogram: {
      about: "The last ten seconds of sound, before and after noise reduction.",
      before: "Before",
      after: "After",
      removed: (/** @type {number} */ decibels) => `Noise removed: ${decibels} dB`,
      measuring: "Noise removed: measured when you pause",
      off: "Noise reduction is off",
    },
    quality: {
      label: "Connection",
      words: { good: "Good", fair: "Fair", poor: "Poor" },
      hints: { good: "", fair: "", poor: "Sound may be choppy" },
      roundTrip: (/** @type {number | null} */ ms) => `Round trip: ${ms === null ? "unknown" : `${ms} ms`}`,
      gaps: (/** @type {number} */ count) => `Audible gaps so far: ${count}`,
      loss: (/** @type {string} */ percent) => `Lost on the way: ${percent} %`,
    },
    check: {
      open: "Check how you sound",
      close: "Close the check",
      explanation:
        "Record five seconds, then listen to yourself as your friends would. Nothing is kept.",
      record: "Record 5 seconds",
      again: "Record again",
      recording: (/** @type {number} */ seconds) => `Recording: ${seconds} s left. Say something.`,
      cleaning: "Removing the noise.",
      play: "Play",
      pause: "Stop playing",
      sound: "Sound",
      before: "Before",
      after: "After",
      ready: "Switch between before and after while it plays.",
      tooShort: "That was too short. Record again.",
    },
    microphone: {
      fellBack: "The microphone you chose is not connected. The default one is used instead.",
      unplugged: "Your microphone was disconnected. The default one is used now.",
      insecure:
        "Browsers allow the microphone only on pages opened over https or on the same machine. Open hushcast at its https address to stream.",
      broken: (/** @type {string} */ why) => `The microphone could not be started: ${why}`,
      refusals: {
        NotAllowedError:
          "The browser may not use the microphone. Allow it in the address bar, then press Start again.",
        NotFoundError: "No microphone was found. Connect one, then press Start again.",
        NotReadableError: "Another program is using the microphone, or it is not responding.",
        OverconstrainedError: "The microphone you chose is not connected. Choose another one.",
      },
    },
  },
  /** Listening, and who is on air. */
  listen: {},
  /** Friends and requests. */
  friends: {},
  /** Recordings and their pages. */
  recordings: {},
  /** Invite links, and what a guest sees. */
  links: {},
  /** The administrators' page. */
  admin: {},
  /** What the browser or the network refuses. */
  errors: {},
};
