/**
 * Asks a model about a picture and writes down where it looked.
 *   npx tsx examples/ask.ts picture.png "which digit is on the red star?" models/nano
 */
import { writeFile } from "node:fs/promises";
import { ask } from "vigorl";

const [picture, question, model = "models/nano"] = process.argv.slice(2);
const reply = await ask(picture, question, { model });

for (const [i, text] of reply.turns.entries()) process.stdout.write(`${i + 1}  ${text}\n`);
const places = reply.points.map(({ x, y }) => `(${Math.round(x)}, ${Math.round(y)})`);
process.stdout.write(`looked at ${places.join(" ") || "nothing"}\n`);
process.stdout.write(`answer: ${reply.answer ?? `none (${reply.stopReason})`}\n`);
await writeFile("looked.png", await reply.drawn());
