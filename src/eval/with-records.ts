/** Outcomes of an arm beside the questions that they are of, one question after the other. */
import { VigorlError } from "../core/errors.ts";
import type { TaskRecord } from "../task/record.ts";
import type { Records } from "../task/records.ts";
import { perQuestion, type Outcome } from "./outcome.ts";

export interface SampledQuestion {
  readonly record: TaskRecord;
  readonly samples: readonly Outcome[];
}

export interface AnsweredQuestion {
  readonly record: TaskRecord;
  /** As `perQuestion`. */
  readonly outcome: Outcome;
}

/**
 * The questions of an arm with their samples.
 * @param outcomes in the order of the records, those of one question together
 * @throws VigorlError("input") where another question was asked in a record's place
 */
export async function* withSamples(
  records: Records,
  outcomes: AsyncIterable<Outcome> | Iterable<Outcome>,
): AsyncGenerator<SampledQuestion> {
  let question = 0;
  for await (const samples of byQuestion(outcomes)) {
    const record = records.at(question++);
    const [{ recordId }] = samples;
    if (record?.id !== recordId)
      throw new VigorlError(
        "input",
        `outcomes.jsonl: question ${question} was ${recordId}, and is ${record?.id ?? "none"}`,
        { hint: "put the questions back, and the outcomes into their order" },
      );
    yield { record, samples };
  }
}

/** The questions of an arm with one outcome each; as `withSamples`. */
export async function* withOutcomes(
  records: Records,
  outcomes: AsyncIterable<Outcome> | Iterable<Outcome>,
): AsyncGenerator<AnsweredQuestion> {
  for await (const { record, samples } of withSamples(records, outcomes)) {
    const [outcome] = perQuestion(samples);
    yield { record, outcome };
  }
}

async function* byQuestion(
  outcomes: AsyncIterable<Outcome> | Iterable<Outcome>,
): AsyncGenerator<Outcome[]> {
  let samples: Outcome[] = [];
  for await (const outcome of outcomes) {
    if (samples.length > 0 && samples[0].recordId !== outcome.recordId) {
      yield samples;
      samples = [];
    }
    samples.push(outcome);
  }
  if (samples.length > 0) yield samples;
}
