import { pluralsOf } from "./plurals.js";

const number = pluralsOf("en");

/**
 * Everything that the pages say, in English: a section for each part of the product. What depends
 * on a number or a name is a function.
 */
export const en = {
  /** Words that several parts use. */
  common: {
    states: {
      off: "Off",
      connecting: "Connecting",
      live: "Live",
      reconnecting: "Reconnecting",
      muted: "Muted",
    },
    listeners: (/** @type {number} */ count) =>
      number(count, { one: "1 listener", other: "# listeners" }),
    add: "Add",
    accept: "Accept",
    cancel: "Cancel",
    close: "Close",
    copy: "Copy",
    decline: "Decline",
    delete: "Delete",
    dismiss: "Dismiss",
    download: "Download",
    friends: "Friends",
    pause: "Pause",
    play: "Play",
    recordings: "Recordings",
    remove: "Remove",
    save: "Save",
    undo: "Undo",
    volume: "Volume",
  },
  /** Signing in and up, the account, sign-ins, blocks. */
  account: {
    promise: "Your voice, live. Without the noise.",
    explanation:
      "Press Start and speak. Your friends hear you within a second, without the noise of your room.",
    signInHeading: "Sign in",
    backHeading: "Welcome back",
    createHeading: "Create your account",
    name: "Name",
    nameRule: "3 to 32 of a–z, 0–9, _ and -",
    password: "Password",
    passwordRule: "At least 8 characters",
    invitation: "Invitation",
    signIn: "Sign in",
    create: "Create account",
    closed: "Ask whoever runs this hushcast for an account.",
    personsPage: (/** @type {string} */ name) =>
      `This is ${name}’s page. Sign in, or create an account, to listen to them.`,
    recordingsPage: "Sign in to hear this recording.",
    adminsPage: "Sign in as an administrator to see this page.",
    nameMissing: "Enter your name.",
    nameUnfit: "A name has 3 to 32 of the characters a–z, 0–9, _ and -.",
    passwordMissing: "Enter your password.",
    passwordShort: "A password has at least 8 characters.",
    invitationMissing: "Enter your invitation.",
    heading: "Account",
    currentPassword: "Current password",
    newPassword: "New password",
    newPasswordMissing: "Enter a new password.",
    changePassword: "Change password",
    passwordChanged: "Password changed. You are signed out everywhere else.",
    signIns: "Where you are signed in",
    thisOne: "this device",
    lastUsed: (/** @type {string} */ when) => `last used ${when}`,
    signOut: "Sign out",
    signOutOf: (/** @type {string} */ where) => `Sign out of ${where}`,
    signOutOthers: "Sign out everywhere else",
    signOutOthersQuestion: "Sign out everywhere else?",
    signOutOthersConsequence: "Streams and pages on your other devices end at once.",
    blocked: "Blocked people",
    isBlocked: (/** @type {string} */ name) => `${name} is blocked`,
    unblock: "Unblock",
    unblockPerson: (/** @type {string} */ name) => `Unblock ${name}`,
    deleteAccount: "Delete account",
    deleteQuestion: "Delete your account?",
    deleteConsequence:
      "This permanently deletes your name, your friendships and all your recordings.",
    yourPassword: "Your password",
    stillSignedIn: (/** @type {string} */ why) => `You are still signed in. ${why}`,
    storageFull: (/** @type {string} */ size) =>
      `Your ${size} for recordings is full: you can stream, but it is not recorded. Delete recordings to make room.`,
    storageNearlyFull: (/** @type {number} */ percent, /** @type {string} */ size) =>
      `Your recordings take up ${percent} % of your ${size}. Once it is full, streams are no longer recorded.`,
    notifications: "Notifications",
    notify: "Tell me when a friend goes live",
    notifyHint: "While hushcast is open, also in the background.",
    notifyRefused: "The browser does not allow notifications from here. Allow them in its settings.",
    notifyUnsupported: "This browser has no notifications for pages.",
  },
  /** The frame: header, notices, addresses that lead nowhere, connection to the server. */
  shell: {
    home: "hushcast, home",
    skip: "Skip to content",
    accountNavigation: "Account",
    admin: "Admin",
    yourStream: "Your stream",
    listeningTo: (/** @type {string} */ name) => `Listening to ${name}`,
    reconnecting: "Reconnecting…",
    messages: "Messages",
    homeTitle: "Home",
    /** The window's title while the user is live; the dot is read out as nothing. */
    liveTitle: (/** @type {string} */ title) => `● Live · ${title}`,
    friendsLiveTitle: (/** @type {string[]} */ names, /** @type {string} */ title) =>
      names.length === 1
        ? `${names[0]} is live · ${title}`
        : number(names.length, { other: `# friends are live · ${title}` }),
    wentLive: (/** @type {string} */ name) => `${name} is live`,
    wentLiveBody: "Open hushcast to listen.",
    nothingHeading: "There is nothing here",
    nothingText: "The address may be mistyped, or what was here is gone.",
    goHome: "Go to hushcast’s home page",
  },
  /** The user's own stream, and the check before it. */
  stream: {
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
      recording: "Recording. Say something.",
      left: (/** @type {number} */ seconds) => `${seconds} s left`,
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
  admin: {
    title: "Administration",
    streams: "Streams",
    accounts: "Accounts",
    nobodyLive: "Nobody is live.",
    about: (/** @type {string} */ state, /** @type {number} */ listeners) =>
      `${state}, ${number(listeners, { one: "1 listener", other: "# listeners" })}`,
    end: "End",
    endOf: (/** @type {string} */ name) => `End ${name}’s stream`,
    endQuestion: (/** @type {string} */ name) => `End ${name}’s stream?`,
    endConsequence:
      "It is stored as far as it got. They can start another one unless you disable their account.",
    endYes: "End stream",
    administrator: "administrator",
    disabled: "disabled",
    since: (/** @type {string} */ day) => `since ${day}`,
    lastHere: (/** @type {string} */ day) => `last here ${day}`,
    enable: "Enable",
    enableOf: (/** @type {string} */ name) => `Enable ${name}’s account`,
    disable: "Disable",
    disableOf: (/** @type {string} */ name) => `Disable ${name}’s account`,
    disableQuestion: (/** @type {string} */ name) => `Disable ${name}’s account?`,
    disableConsequence:
      "They are signed out everywhere, their stream ends, and they cannot sign in again until you enable it.",
  },
  /** What the browser or the network refuses. */
  errors: {
    unreachable: "hushcast cannot be reached. Check your connection.",
    signInAgain: "Please sign in again.",
    notAllowed: "You are not allowed to do this.",
    gone: "This no longer exists.",
    tooLarge: "This is too large to send.",
    tooMany: "Too many attempts. Wait a moment and try again.",
    busy: "hushcast is busy right now. Try again in a moment.",
    status: (/** @type {number} */ status) => `The server answered with an error (${status}).`,
  },
};
