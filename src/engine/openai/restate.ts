/**
 * Servers that cannot continue an assistant message get it closed, and a request in words to go on.
 * Models then often repeat the end of what stands there ("<answer> 7" behind an open "<answer>"); the
 * repetition is taken off, so that message and reply joined read as one.
 */

/**
 * What `reply` adds to `restated` (null: everything). While the stream is open and all of the reply
 * so far may still be a repetition, that is nothing.
 */
export function continuation(restated: string | null, reply: string, isWhole: boolean): string {
  if (restated === null) return reply;
  const start = reply.trimStart();
  if (!isWhole && restated.includes(start)) return "";
  for (let length = Math.min(restated.length, start.length); length > 0; length--)
    if (restated.endsWith(start.slice(0, length)) && isRepetition(start, length))
      return start.slice(length);
  return reply;
}

/** A shared character or two in the middle of a word is chance, not a repetition. */
function isRepetition(reply: string, length: number): boolean {
  return length >= MIN_LENGTH || length === reply.length;
}

/** The shortest tag, `<a>`, is as long. */
const MIN_LENGTH = 3;
