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
    states: {
      off: "Off",
      connecting: "Connecting",
      live: "Live",
      reconnecting: "Reconnecting",
      muted: "Live, muted",
    },
    /** @satisfies {Record<string, (name: string) => string>} */
    sentences: {
      off: (/** @type {string} */ name) => `${name} is not live. This page shows when they are.`,
      soon: (/** @type {string} */ name) => `${name} is about to go live.`,
      live: (/** @type {string} */ name) => `${name} is live now.`,
      liveMuted: (/** @type {string} */ name) => `${name} is live, but their microphone is muted.`,
      lost: (/** @type {string} */ name) =>
        `${name} has lost the connection. The sound comes back when they do.`,
      ended: (/** @type {string} */ name) => `${name}'s stream has ended.`,
      away: (/** @type {string} */ _name) => "hushcast cannot be reached. Still trying.",
      connecting: (/** @type {string} */ name) => `Connecting to ${name}.`,
      reconnecting: (/** @type {string} */ name) => `Reconnecting to ${name}.`,
      stillTrying: (/** @type {string} */ name) => `No connection to ${name} yet. Still trying.`,
      waiting: (/** @type {string} */ name) => `Waiting for sound from ${name}.`,
      hearing: (/** @type {string} */ name) => `You hear ${name}.`,
      hearingOriginal: (/** @type {string} */ name) => `You hear ${name} with the noise.`,
      hearingMuted: (/** @type {string} */ name) => `You are listening. ${name} has muted the microphone.`,
    },
    interrupted: "The sound was paused. Press Listen to go on.",
    blocked: "The browser blocked the sound. Press Listen again.",
    listen: "Listen",
    listenTo: (/** @type {string} */ name) => `Listen to ${name}`,
    stop: "Stop listening",
    stopListening: (/** @type {string} */ name) => `Stop listening to ${name}`,
    streamOf: (/** @type {string} */ name) => `${name}'s stream`,
    sound: "Sound",
    denoised: "Without noise",
    original: "Original",
    hold: "Hold to hear the noise",
    mine: "This is you, as your friends hear you. Use headphones.",
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
    liveTitle: (/** @type {string} */ name) => `${name}, live`,
    unplayable: "This recording cannot be played right now.",
    home: "Home",
    onPage: "On this page",
    onAir: "On air",
    tabs: { onAir: "On air", stream: "Go live", friends: "Friends", recordings: "Recordings" },
    nobodyOnAir: "No friend is on air right now.",
    recordings: "Recordings",
    yourRecordings: "Your recordings",
  },
  /** Friends and requests. */
  friends: {
    friends: "Friends",
    name: "Friend's name",
    add: "Add",
    nameMissing: "Enter the name of a friend.",
    find: "Find a friend",
    found: (/** @type {number} */ count) => (count === 1 ? "1 friend" : `${count} friends`),
    none: "No friends yet. Add one by name; they have to accept.",
    requests: (/** @type {number} */ count) => (count === 1 ? "1 request" : `${count} requests`),
    asked: (/** @type {number} */ count) => `Waiting for an answer: ${count}`,
    wants: (/** @type {string} */ name) => `${name} wants to be your friend`,
    accept: "Accept",
    acceptWhom: (/** @type {string} */ name) => `Accept ${name}'s request`,
    decline: "Decline",
    declineWhom: (/** @type {string} */ name) => `Decline ${name}'s request`,
    withdraw: "Withdraw",
    withdrawWhom: (/** @type {string} */ name) => `Withdraw your request to ${name}`,
    sent: (/** @type {string} */ name) => `Friend request sent to ${name}.`,
    friendsNow: (/** @type {string} */ name) => `You and ${name} are now friends.`,
    declined: (/** @type {string} */ name) => `You declined ${name}'s request.`,
    withdrawn: (/** @type {string} */ name) => `You withdrew your request to ${name}.`,
    removed: (/** @type {string} */ name) => `${name} is no longer your friend.`,
    remove: "Remove",
    removeWhom: (/** @type {string} */ name) => `Remove ${name}`,
    removeQuestion: (/** @type {string} */ name) => `Remove ${name}?`,
    removeConsequence: "You will no longer hear each other or share recordings.",
    notFriends: (/** @type {string} */ name) =>
      `You and ${name} are not friends. Only friends can listen to each other.`,
    wantsToBe: (/** @type {string} */ name) =>
      `${name} wants to be your friend. Friends can listen to each other.`,
    youAsked: (/** @type {string} */ name) =>
      `You sent ${name} a friend request. You can listen here once they accept.`,
    askWhom: (/** @type {string} */ name) => `Ask ${name}`,
    blockedPerson: (/** @type {string} */ name) =>
      `You have blocked ${name}, who cannot send you requests.`,
    block: (/** @type {string} */ name) => `Block ${name}`,
    blockQuestion: (/** @type {string} */ name) => `Block ${name}?`,
    blockConsequence: (/** @type {string} */ name) =>
      `You are no longer friends then. ${name} is not told, and cannot ask you again.`,
    blockYes: "Block",
    unblock: (/** @type {string} */ name) => `Unblock ${name}`,
  },
  /** Recordings and their pages. */
  recordings: {},
  /** Invite links, and what a guest sees. */
  links: {},
  /** The administrators' page. */
  admin: {},
  /** What the browser or the network refuses. */
  errors: {},
};
