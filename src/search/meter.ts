/**
 * What one tree asked of a sampler. Replies that are no sample cost their call alone; they are counted
 * over the whole search, so that a teacher that never says anything is found out.
 */
import {
  numPositions,
  type Capabilities,
  type Chunk,
  type Sample,
  type SampleOptions,
  type SampleParams,
  type Sampler,
} from "../engine/types.ts";
import { ReplyFault } from "../engine/reply-fault.ts";

/** Replies of a teacher that could not be used. */
export interface ReplyFaults {
  count: number;
  /** What the first of them was. */
  first: ReplyFault | null;
}

/** Counts the calls that gave a sample. */
export class Meter implements Sampler {
  readonly capabilities: Capabilities;
  numCalls = 0;
  numTokens = { prompt: 0, model: 0 };

  private readonly inner: Sampler;
  private readonly faults: ReplyFaults;

  constructor(inner: Sampler, faults: ReplyFaults = { count: 0, first: null }) {
    this.inner = inner;
    this.faults = faults;
    this.capabilities = inner.capabilities;
  }

  async sample(
    prompt: readonly Chunk[],
    params: SampleParams,
    options?: SampleOptions,
  ): Promise<Sample> {
    try {
      const sample = await this.inner.sample(prompt, params, options);
      this.numCalls++;
      this.numTokens.prompt += numPositions(prompt);
      this.numTokens.model += sample.tokens.length;
      return sample;
    } catch (error) {
      if (error instanceof ReplyFault) {
        this.faults.count++;
        this.faults.first ??= error;
      }
      throw error;
    }
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
