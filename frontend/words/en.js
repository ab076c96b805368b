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
      `This is ${name}’s page. Sign in to listen to them.`,
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
  stream: {},
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
