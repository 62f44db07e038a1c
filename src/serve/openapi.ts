/** The API in OpenAPI 3.1, out of the very schemas that requests are checked with. */
import { z } from "zod";
import { ownVersion } from "../core/paths.ts";
import { askEventSchema, askReplySchema, askRequestSchema } from "./ask-request.ts";
import { completionRequestSchema } from "./request-schema.ts";

export function openApi() {
  return {
    openapi: "3.1.0",
    info: {
      title: "vigorl serve",
      version: ownVersion(),
      description:
        "Questions about pictures to a vision-language model that looks with tools, and the chat completions that OpenAI's clients speak.",
    },
    paths: {
      "/v1/ask": {
        post: {
          summary: "Asks a question about pictures; the server plays the model's tools.",
          description:
            "Places are pixels of the pictures as they were given. With `stream`, server-sent events: each `data:` line is an AskEvent, the last one `[DONE]`.",
          requestBody: json("AskRequest"),
          responses: {
            "200": {
              description: "the answer",
              content: {
                "application/json": { schema: ref("AskReply") },
                "text/event-stream": { schema: ref("AskEvent") },
              },
            },
            ...errors("400", "401", "403", "408", "413", "415", "429", "500", "503"),
          },
        },
      },
      "/v1/chat/completions": {
        post: {
          summary: "A chat completion as OpenAI's clients ask for it.",
          description:
            "With `tools`, calls come as `tool_calls` and are answered by `tool` messages, which may hold images. With `vigorl: {play: true}` the server plays them itself, and the reply has an AskReply as `vigorl`.",
          requestBody: json("ChatRequest"),
          responses: {
            "200": {
              description: "a chat.completion, or events of chat.completion.chunk",
              content: {
                "application/json": { schema: { type: "object" } },
                "text/event-stream": { schema: { type: "object" } },
              },
            },
            ...errors("400", "401", "403", "404", "408", "413", "415", "429", "500", "503"),
          },
        },
      },
      "/v1/models": get("the served model, as a list of one", "application/json", "401"),
      "/v1/models/{id}": {
        get: {
          parameters: [{ name: "id", in: "path", required: true, schema: { type: "string" } }],
          responses: {
            "200": { description: "the served model", content: { "application/json": {} } },
            ...errors("401", "404"),
          },
        },
      },
      "/health": get("whether it is there, and how much it has to do", "application/json"),
      "/metrics": get("figures in the text form of Prometheus", "text/plain", "401"),
      "/openapi.json": get("this description", "application/json"),
      "/": get("a page to drop a picture on", "text/html"),
    },
    components: {
      schemas: {
        AskRequest: schemaOf(askRequestSchema, "input"),
        AskReply: schemaOf(askReplySchema, "output"),
        AskEvent: schemaOf(askEventSchema, "output"),
        ChatRequest: schemaOf(completionRequestSchema, "input"),
        Error: {
          type: "object",
          required: ["error"],
          properties: {
            error: {
              type: "object",
              required: ["message", "type", "param", "code"],
              properties: {
                message: { type: "string" },
                type: { type: "string" },
                param: { type: ["string", "null"] },
                code: { type: ["string", "null"] },
              },
            },
          },
        },
      },
      securitySchemes: { key: { type: "http", scheme: "bearer" } },
    },
    security: [{}, { key: [] }],
  };
}

function schemaOf(schema: z.ZodType, io: "input" | "output") {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: "any" });
  return rest;
}

function ref(name: string) {
  return { $ref: `#/components/schemas/${name}` };
}

function json(name: string) {
  return { required: true, content: { "application/json": { schema: ref(name) } } };
}

function get(description: string, type: string, ...statuses: string[]) {
  return {
    get: { responses: { "200": { description, content: { [type]: {} } }, ...errors(...statuses) } },
  };
}

function errors(...statuses: string[]) {
  const why: Record<string, string> = {
    "400": "a bad request",
    "401": "a wrong key",
    "403": "a Host header that is no name of this machine",
    "404": "another model",
    "408": "a body that stays away",
    "413": "too large",
    "415": "a body that is not application/json",
    "429": "too many requests at once; with Retry-After",
    "500": "a fault of the server",
    "503": "no room for it now; with Retry-After",
  };
  const content = { "application/json": { schema: ref("Error") } };
  return Object.fromEntries(
    statuses.map((status) => [status, { description: why[status], content }]),
  );
}
