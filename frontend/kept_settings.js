/**
 * @typedef {{
 *   denoise: boolean, attenuation_limit_db: number | null, share_original: boolean,
 *   undenoised_on_overload: boolean, deviceId: string,
 * }} Choices
 */

/** @type {Choices} */
const DEFAULTS = {
  denoise: true,
  attenuation_limit_db: null,
  share_original: false,
  undenoised_on_overload: false,
  deviceId: "",
};

/** What a person has chosen for their streams, kept in this browser from one to the next. */
export class KeptSettings {
  #key;
  /** @type {Choices} */
  #choices;

  /** @param {string} username */
  constructor(username) {
    this.#key = `hushcast.settings.${username}`;
    this.#choices = { ...DEFAULTS, ...read(this.#key) };
  }

  get choices() {
    return this.#choices;
  }

  /** @param {Partial<Choices>} change */
  keep(change) {
    this.#choices = { ...this.#choices, ...change };
    localStorage.setItem(this.#key, JSON.stringify(this.#choices));
  }
}

/**
 * Read what was kept; whatever is not of the right type is left out.
 * @param {string} key
 * @returns {Partial<Choices>}
 */
function read(key) {
  let kept;
  try {
    kept = JSON.parse(localStorage.getItem(key) ?? "{}");
  } catch {
    return {}; // written by something else
  }
  const { denoise, attenuation_limit_db: limit, share_original: share, deviceId } = kept ?? {};
  const { undenoised_on_overload: passOn } = kept ?? {};
  return {
    ...(typeof denoise === "boolean" && { denoise }),
    ...((limit === null || limit >= 0) && { attenuation_limit_db: limit }),
    ...(typeof share === "boolean" && { share_original: share }),
    ...(typeof passOn === "boolean" && { undenoised_on_overload: passOn }),
    ...(typeof deviceId === "string" && { deviceId }),
  };
}

/**
 * Write a stream's settings as the query of POST /whip.
 * @param {{
 *   denoise: boolean, attenuation_limit_db: number | null, share_original: boolean,
 *   undenoised_on_overload: boolean, muted: boolean, title?: string | null,
 * }} settings
 */
export function settingsQuery(settings) {
  const { attenuation_limit_db: limit, muted, title } = settings;
  const query = new URLSearchParams({
    denoise: String(settings.denoise),
    attenuation_limit_db: String(limit ?? "null"),
    share_original: String(settings.share_original),
    undenoised_on_overload: String(settings.undenoised_on_overload),
    muted: String(muted),
    title: title ?? "",
  });
  return query.toString();
}
