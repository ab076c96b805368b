/**
 * Make a translator of what the server says, which it says in English. `{}` stands for a name or a
 * number, in the same order in both languages. What is not in the table stays as it is.
 * @param {[english: string, translated: string][]} table
 */
export function translatorOf(table) {
  const patterns = table.map(([english, translated]) => {
    const parts = english.split("{}").map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    return { pattern: new RegExp(`^${parts.join("(.+?)")}$`), translated };
  });
  return (/** @type {string} */ sentence) => {
    for (const { pattern, translated } of patterns) {
      const found = sentence.match(pattern)?.slice(1);
      if (found) return translated.replaceAll("{}", () => found.shift() ?? "");
    }
    return sentence;
  };
}
