/** The forms of other people's datasets that are read row by row, one line each. */
import { csv, easyr1, jsonl, trl } from "./flat.ts";
import type { Form } from "./form.ts";
import { messages, sharegpt } from "./talk.ts";

export const forms = { sharegpt, messages, easyr1, trl, csv, jsonl } as const satisfies Record<
  string,
  Form
>;

export type FormName = keyof typeof forms;
export const formNames = Object.keys(forms) as [FormName, ...FormName[]];
