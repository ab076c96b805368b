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
  listen: {},
  friends: {},
  recordings: {},
  links: {},
  admin: {},
  errors: {},
};
