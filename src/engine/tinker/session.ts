/**
 * A session at a Tinker server and the models in it. Training calls of a model carry a number each and
 * run in the order of their numbers; a gap would hold up the model for ever, so that a number counts as
 * used once the server has taken the call, and no call is sent before that.
 */
import { z } from "zod";
import { VigorlError } from "../../core/errors.ts";
import { parseAt } from "../../core/jsonl.ts";
import { StatusFault } from "./faults.ts";
import type { Body, Connection, Reply, ServerConfig } from "./connection.ts";
import type { TinkerConfig } from "./options.ts";

/** Sessions are dropped after minutes without a sign of life. */
const BEAT_MS = 10_000;

const text = z.string().min(1);
const sessionSchema = z.looseObject({ session_id: text });
const modelSchema = z.looseObject({ model_id: text });
const samplerSchema = z.looseObject({ sampling_session_id: text });
const savedSchema = z.looseObject({ path: text });
const snapshotSchema = z.looseObject({
  sampling_session_id: text.nullish(),
  path: text.nullish(),
});
const capabilitiesSchema = z.looseObject({
  supported_models: z.array(
    z.looseObject({ model_name: text, max_context_length: z.int().min(1).nullish() }),
  ),
});

export interface SupportedModel {
  readonly name: string;
  /** Null where the server does not say. */
  readonly maxPositions: number | null;
}

/** The models that a server lists; null where it has no such list. */
export async function supportedModels(
  connection: Connection,
  signal?: AbortSignal,
): Promise<SupportedModel[] | null> {
  let value: unknown;
  try {
    value = await connection.json("GET", "get_server_capabilities", {}, { signal });
  } catch (error) {
    if (isStatus(error, 404, 405)) return null;
    throw error;
  }
  const { supported_models: models } = parseAt(
    "get_server_capabilities",
    value,
    capabilitiesSchema,
  );
  return models.map(({ model_name: name, max_context_length: length }) => ({
    name,
    maxPositions: length ?? null,
  }));
}

export class Session {
  readonly connection: Connection;
  readonly config: ServerConfig;
  private readonly id: string;
  private readonly engine: TinkerConfig;
  private readonly beat: NodeJS.Timeout;
  private numModels = 0;
  private numSamplers = 0;

  private constructor(
    connection: Connection,
    config: ServerConfig,
    id: string,
    engine: TinkerConfig,
  ) {
    this.connection = connection;
    this.config = config;
    this.id = id;
    this.engine = engine;
    this.beat = setInterval(() => void this.heartbeat(), BEAT_MS);
    this.beat.unref();
  }

  static async open(
    connection: Connection,
    engine: TinkerConfig,
    signal?: AbortSignal,
  ): Promise<Session> {
    const config = await connection.handshake(signal);
    const value = await connection.json(
      "POST",
      "create_session",
      { tags: [], sdk_version: connection.sdkVersion, type: "create_session" },
      { signal },
    );
    const { session_id: id } = parseAt("create_session", value, sessionSchema);
    return new Session(connection, config, id, engine);
  }

  /** A new model: the base with a fresh adapter. */
  async createModel(signal?: AbortSignal): Promise<TrainedModel> {
    const { rank, seed, attention, mlp, unembed } = this.engine.lora;
    const seqId = this.numModels++;
    const result = await this.call(
      "create_model",
      {
        session_id: this.id,
        model_seq_id: seqId,
        base_model: this.engine.baseModel,
        lora_config: {
          rank,
          seed,
          ...(attention ? {} : { train_attn: false }),
          ...(mlp ? {} : { train_mlp: false }),
          ...(unembed ? {} : { train_unembed: false }),
        },
        type: "create_model",
      },
      "CreateModel",
      signal,
    );
    const { model_id: id } = parseAt("create_model", result, modelSchema);
    return new TrainedModel(this, id);
  }

  /**
   * A model that goes on from a checkpoint. Newer servers make it in one call; older ones load it into
   * a fresh model, as its first call.
   */
  async loadModel(path: string, optimizer: boolean, signal?: AbortSignal): Promise<TrainedModel> {
    const seqId = this.numModels++;
    try {
      const result = await this.call(
        "load_weights",
        { session_id: this.id, model_seq_id: seqId, path, optimizer, type: "load_weights" },
        "LoadWeights",
        signal,
      );
      const { model_id: id = `${this.id}:train:${seqId}` } = result;
      return new TrainedModel(this, String(id));
    } catch (error) {
      if (!isStatus(error, 400, 404, 405, 422)) throw error;
    }
    const model = await this.createModel(signal);
    await model.load(path, optimizer);
    return model;
  }

  /** A sampler on the base model, or on a checkpoint for samplers. */
  async createSampler(path: string | undefined, signal?: AbortSignal): Promise<string> {
    const value = await this.connection.json(
      "POST",
      "create_sampling_session",
      {
        session_id: this.id,
        sampling_session_seq_id: this.numSamplers++,
        ...(path === undefined ? { base_model: this.engine.baseModel } : { model_path: path }),
        type: "create_sampling_session",
      },
      { signal },
    );
    return parseAt("create_sampling_session", value, samplerSchema).sampling_session_id;
  }

  nextSampler(): number {
    return this.numSamplers++;
  }

  /** Gives up a checkpoint; servers that keep none by that name, or let nobody, are left alone. */
  async deleteCheckpoint(path: string): Promise<void> {
    const [run, ...name] = path.replace(/^tinker:\/\//, "").split("/");
    const where = `training_runs/${encodeURIComponent(run)}/checkpoints/${name.map(encodeURIComponent).join("/")}`;
    try {
      await this.connection.json("DELETE", where, {});
    } catch (error) {
      if (!isStatus(error, 404, 405, 501)) throw error;
    }
  }

  /** Ends the session. Servers that know no such call are ended by the silence. */
  async close(): Promise<void> {
    clearInterval(this.beat);
    const body = { reason: { type: "success" }, detail: null };
    await this.connection
      .json("POST", `sessions/${encodeURIComponent(this.id)}/finish`, body, {
        once: true,
        signal: AbortSignal.timeout(2000),
      })
      .catch(() => undefined);
    await this.connection.close();
  }

  async call(
    path: string,
    body: Body,
    kind: string,
    signal?: AbortSignal,
  ): Promise<Readonly<Record<string, unknown>>> {
    return jsonOf(await this.connection.call(path, body, kind, { signal }), path);
  }

  private async heartbeat(): Promise<void> {
    const body = { session_id: this.id, type: "session_heartbeat" };
    const signal = AbortSignal.timeout(BEAT_MS);
    await this.connection
      .json("POST", "session_heartbeat", body, { once: true, signal })
      .catch((error: unknown) => {
        // The next call will say what has become of the session.
        if (isStatus(error, 404, 410)) clearInterval(this.beat);
      });
  }
}

/** A model at the server that can be trained. */
export class TrainedModel {
  readonly id: string;
  private readonly session: Session;
  private seqId = 0;
  private submitted: Promise<unknown> = Promise.resolve();

  constructor(session: Session, id: string) {
    this.session = session;
    this.id = id;
  }

  /** Sends a training call behind those that were sent before, and waits for its result. */
  async run(path: string, bodyOf: (seqId: number) => Body, kind: string): Promise<Reply> {
    const { connection } = this.session;
    const sent = this.submitted.then(async () => {
      const body = bodyOf(this.seqId + 1);
      const ticket = await connection.submit(path, body);
      this.seqId++;
      return { ticket, body };
    });
    this.submitted = sent.catch(() => undefined);
    const { ticket, body } = await sent;
    return connection.result(ticket, { path, body, kind }, {});
  }

  async load(path: string, optimizer: boolean): Promise<void> {
    await this.runJson("load_weights", { path, optimizer }, "LoadWeights");
  }

  /** Keeps weights and optimizer at the server; returns their path. */
  async save(name: string): Promise<string> {
    const result = await this.runJson("save_weights", { path: name }, "SaveWeights");
    return parseAt("save_weights", result, savedSchema).path;
  }

  /** A sampler on the present weights, which it keeps. */
  async snapshot(): Promise<string> {
    const result = await this.runJson(
      "save_weights_for_sampler",
      { sampling_session_seq_id: this.session.nextSampler(), kind: "snapshot" },
      "SaveWeightsForSampler",
    );
    const { sampling_session_id: id, path } = parseAt(
      "save_weights_for_sampler",
      result,
      snapshotSchema,
    );
    if (typeof id === "string") return id;
    if (typeof path === "string") return this.session.createSampler(path);
    throw new VigorlError("io", "save_weights_for_sampler: neither a session nor a path came back");
  }

  async runJson(
    path: string,
    body: Readonly<Record<string, unknown>>,
    kind: string,
  ): Promise<Readonly<Record<string, unknown>>> {
    const reply = await this.run(
      path,
      (seqId) => ({ ...body, model_id: this.id, seq_id: seqId, type: path }),
      kind,
    );
    return jsonOf(reply, path);
  }
}

function jsonOf(reply: Reply, path: string): Readonly<Record<string, unknown>> {
  if (reply.type === "json") return reply.value;
  throw new VigorlError("io", `${path}: protobuf came back where JSON was expected`);
}

function isStatus(error: unknown, ...statuses: readonly number[]): boolean {
  if (!(error instanceof VigorlError)) return false;
  return error.cause instanceof StatusFault && statuses.includes(error.cause.status);
}
