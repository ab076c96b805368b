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
  stream: {},
  /** Listening, and who is on air. */
  listen: {
    player: "Player",
    volume: "Volume",
    percent: (/** @type {number} */ share) => `${Math.round(share * 100)} %`,
    position: "Position in the recording",
    timeOf: (/** @type {string} */ at, /** @type {string} */ length) => `${at} of ${length}`,
    rate: "Speed",
    speed: (/** @type {number} */ rate) => `${rate}×`,
    play: (/** @type {string} */ title) => `Play ${title}`,
    pause: (/** @type {string} */ title) => `Pause ${title}`,
    closePlayer: "Close the player",
    stopListening: (/** @type {string} */ name) => `Stop listening to ${name}`,
    liveAbout: "Live",
    liveTitle: (/** @type {string} */ name) => `${name}, live`,
    unplayable: "This recording cannot be played right now.",
  },
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
