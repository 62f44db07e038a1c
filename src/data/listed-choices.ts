/** Options that a question lists in its text. */

/** Options written as `A. text` or `(A) text`, one a line, in the order of their letters. */
export function listedChoices(question: string): string[] {
  const out: string[] = [];
  for (const match of question.matchAll(/^\s*\(?([A-Z])[.)]\s+(.+?)\s*$/gm))
    if (match[1].charCodeAt(0) === 65 + out.length) out.push(match[2]);
  return out;
}
