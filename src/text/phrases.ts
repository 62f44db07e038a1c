/**
 * What a sentence of a thought does, told by English phrases: it announces where to look, confirms
 * something seen, takes something back, or names a part of the picture in words. Phrases, not meaning:
 * what is said in other words or another language is not found, and is for a model to judge.
 */

/** Announces what is to be looked at. */
export function announces(sentence: string): boolean {
  return ANNOUNCES.test(plain(sentence));
}

/** Confirms or checks something that is seen. */
export function confirms(sentence: string): boolean {
  return CONFIRMS.test(plain(sentence));
}

/** Takes back what was said, or turns from a wrong way. `own`: further sentences that do. */
export function takesBack(sentence: string, own: readonly string[] = []): boolean {
  const text = plain(sentence);
  return REVISES.test(text) || own.some((phrase) => says(text, plain(phrase)));
}

/** An answer that finds nothing, or gives up. */
export function givesUp(answer: string): boolean {
  return GIVES_UP.test(
    plain(answer)
      .replaceAll(/[.!"'()[\]]/g, "")
      .trim(),
  );
}

/** The parts of a picture that a sentence names in words, each once: "top left", "background". */
export function namedRegions(sentence: string): string[] {
  const found = Array.from(plain(sentence).matchAll(REGION), ([, ground, pair, single]) =>
    (ground ?? pair ?? single).replaceAll(/[a-z]+/g, (word) => SAME[word] ?? word),
  );
  return [...new Set(found.map((name) => name.replaceAll(/[\s-]+/g, " ")))];
}

/** Case, typographic quotes and runs of blanks do not matter. */
function plain(text: string): string {
  return text
    .toLowerCase()
    .replaceAll(/[\u2018\u2019]/g, "'")
    .replaceAll(/\s+/g, " ")
    .trim();
}

/** Whether a phrase stands in a text as whole words. */
function says(text: string, phrase: string): boolean {
  if (phrase === "") return false;
  const isWord = (at: number) => /[\p{L}\p{N}]/u.test(text[at] ?? "");
  for (let at = text.indexOf(phrase); at >= 0; at = text.indexOf(phrase, at + 1))
    if (!isWord(at - 1) && !isWord(at + phrase.length)) return true;
  return false;
}

const I_WILL = String.raw`(?:let me|let us|let's|i'll|i will|i'm going to|i am going to|i need to|i should|i must|i want to)`;
const ANNOUNCES = new RegExp(
  String.raw`\b${I_WILL}\b(?! (?:confirm|verify|re-?check|double-?check|correct|reconsider))|^(?:first|firstly|second|secondly|third|next|then|now|finally)\b,?|\bto (?:find|locate|identify|determine|answer|see|read|check) (?:out |this|that|the|what|which|where|whether|who|how|if)\b`,
);

const CONFIRMS =
  /\b(?:re-?check(?:s|ed|ing)?|double-?check(?:s|ed|ing)?|cross-?check(?:s|ed|ing)?|verif(?:y|ies|ied|ying)|confirm(?:s|ed|ing)?|validat(?:e|es|ed|ing)|mak(?:e|ing) (?:sure|certain)|to be (?:sure|certain)|(?:look|check)(?:ing)? (?:again|once more)|(?:second|another) look|indeed|as expected|consistent with|i (?:can |do )?(?:clearly |now )?see (?:that|it is|it's)|which (?:matches|agrees with))\b/;

const REVISES =
  /^(?:wait|hmm+|oops|no,|no;|no:|no\.|actually)(?![a-z])|\b(?:on second thought|at first (?:glance )?i\b|i (?:initially|first|previously|mistakenly|wrongly) (?:thought|assumed|believed|interpreted|took|read|identified|saw)|let me (?:correct|reconsider|revise|rethink|backtrack|start over|go back)|i (?:was|am|'m) (?:wrong|mistaken)|i made a mistake|my mistake|scratch that|i (?:must |need to |should |will |have to )?(?:go|going) back|(?:that|this|it) (?:is|was|'s) (?:wrong|incorrect|not right|not it|not correct|a mistake)|(?:that|this|it)'s (?:wrong|incorrect|not right|not it|not correct)|(?:does|do|did) not hold up|not what i (?:thought|expected|was looking for)|but (?:looking|on looking) (?:closer|more carefully|again)|but (?:it|that|this|they)(?:'s| is| are|'re) actually)\b/;

const GIVES_UP =
  /^(?:none|none of (?:them|these|those|the above)|nothing|no such (?:thing|object)|there is none|n\/a|unknown|unsure|not (?:found|visible|present|sure|there|possible)|(?:i )?(?:cannot|can not|can't|could not|couldn't) (?:tell|say|determine|find|see|answer|be determined)\b.{0,80}|i (?:do not|don't) know|i give up|impossible to (?:tell|say|determine))$/;

const VERTICAL = "top|upper|bottom|lower";
const SIDE = "left|right";
const MIDDLE = "middle|center|centre";
const REGION = new RegExp(
  String.raw`\b(?:(background|foreground)|((?:${VERTICAL}|${MIDDLE})[ -](?:${SIDE}|${MIDDLE}))(?: (?:corner|side|part|area))?|(${VERTICAL}|${MIDDLE}|${SIDE})(?:[ -]hand)? (?:side|half|part|edge|corner|area|region|portion|section|third|of the (?:image|picture|photo|scene|frame|screen)))\b`,
  "g",
);
const SAME: Readonly<Record<string, string>> = {
  upper: "top",
  lower: "bottom",
  center: "middle",
  centre: "middle",
};
