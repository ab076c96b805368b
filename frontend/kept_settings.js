/**
 * `model` is empty for the one that a stream begins with.
 * @typedef {{
 *   denoise: boolean, attenuation_limit_db: number | null, post_filter: boolean, model: string,
 *   share_original: boolean, undenoised_on_overload: boolean, deviceId: string,
 * }} Choices
 */

/** @type {Choices} */
const DEFAULTS = {
  denoise: true,
  attenuation_limit_db: null,
  post_filter: false,
  model: "",
  share_original: false,
  undenoised_on_overload: false,
  deviceId: "",
};

/** What a person has chosen for their streams, kept in this browser from one to the next. */
export class KeptSettings {
  #key;
  /** @type {Choices} */
  #choices;

  /**
   * @param {string} username
   * @param {string[]} models those that the server has
   */
  constructor(username, models) {
    this.#key = `hushcast.settings.${username}`;
    this.#choices = { ...DEFAULTS, ...read(this.#key, models) };
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
 * Read what was kept; whatever is not of the right type, or a model that is gone, is left out.
 * @param {string} key
 * @param {string[]} models
 * @returns {Partial<Choices>}
 */
function read(key, models) {
  let kept;
  try {
    kept = JSON.parse(localStorage.getItem(key) ?? "{}");
  } catch {
    return {}; // written by something else
  }
  const { denoise, attenuation_limit_db: limit, share_original: share, deviceId } = kept ?? {};
  const { undenoised_on_overload: passOn, post_filter: postFilter, model } = kept ?? {};
  return {
    ...(typeof denoise === "boolean" && { denoise }),
    ...((limit === null || limit >= 0) && { attenuation_limit_db: limit }),
    ...(typeof postFilter === "boolean" && { post_filter: postFilter }),
    ...(models.includes(model) && { model }),
    ...(typeof share === "boolean" && { share_original: share }),
    ...(typeof passOn === "boolean" && { undenoised_on_overload: passOn }),
    ...(typeof deviceId === "string" && { deviceId }),
  };
}

/**
 * Write a stream's settings as the query of POST /whip.
 * @param {{
 *   denoise: boolean, attenuation_limit_db: number | null, post_filter: boolean, model: string,
 *   share_original: boolean, undenoised_on_overload: boolean, muted: boolean,
 *   title?: string | null,
 * }} settings
 */
export function settingsQuery(settings) {
  const { attenuation_limit_db: limit, model, muted, title } = settings;
  const query = new URLSearchParams({
    denoise: String(settings.denoise),
    attenuation_limit_db: String(limit ?? "null"),
    post_filter: String(settings.post_filter),
    ...(model && { model }),
    share_original: String(settings.share_original),
    undenoised_on_overload: String(settings.undenoised_on_overload),
    muted: String(muted),
    title: title ?? "",
  });
  return query.toString();
}
