/** @import { en } from "./en.js" */

/**
 * Everything that the pages say, in German.
 * @type {typeof en}
 */
export const de = {
  common: {},
  account: {},
  shell: {},
  stream: {},
  listen: {
    player: "Wiedergabe",
    volume: "Lautstärke",
    percent: (share) => `${Math.round(share * 100)} %`,
    position: "Stelle in der Aufnahme",
    timeOf: (at, length) => `${at} von ${length}`,
    rate: "Tempo",
    speed: (rate) => `${String(rate).replace(".", ",")}×`,
    play: (title) => `${title} abspielen`,
    pause: (title) => `${title} anhalten`,
    closePlayer: "Wiedergabe schließen",
    stopListening: (name) => `${name} nicht mehr hören`,
    liveAbout: "Live",
    liveTitle: (name) => `${name}, live`,
    unplayable: "Diese Aufnahme lässt sich gerade nicht abspielen.",
  },
  friends: {},
  recordings: {},
  links: {},
  admin: {},
  errors: {},
};
