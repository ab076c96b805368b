/**
 * Make a chooser of a language's forms by number: `{ one: "1 listener", other: "# listeners" }`,
 * where `#` stands for the number. A language may have forms that English has not.
 * @param {string} language
 */
export function pluralsOf(language) {
  const rules = new Intl.PluralRules(language);
  const written = new Intl.NumberFormat(language);
  return (
    /** @type {number} */ number,
    /** @type {{ other: string } & Partial<Record<Intl.LDMLPluralRule, string>>} */ forms,
  ) => (forms[rules.select(number)] ?? forms.other).replace("#", written.format(number));
}
