/** Errors as clients of the protocol read them: a status and `{error: {message, type, param, code}}`. */
import type { ContentfulStatusCode } from "hono/utils/http-status";
import type { z } from "zod";
import { VigorlError } from "../core/errors.ts";

export class ApiError extends Error {
  readonly status: ContentfulStatusCode;
  readonly param: string | null;
  readonly code: string | null;

  constructor(
    status: ContentfulStatusCode,
    message: string,
    { param = null, code = null }: { param?: string | null; code?: string | null } = {},
  ) {
    super(message);
    this.status = status;
    this.param = param;
    this.code = code;
  }

  /** The body of the answer. */
  body() {
    const type =
      TYPES[this.status] ?? (this.status < 500 ? "invalid_request_error" : "server_error");
    return { error: { message: this.message, type, param: this.param, code: this.code } };
  }
}

const TYPES: Readonly<Record<number, string>> = {
  401: "authentication_error",
  403: "permission_error",
  404: "not_found_error",
  429: "rate_limit_error",
};

/** What went wrong, for the client: its own mistakes in full, ours without their insides. */
export function toApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof VigorlError) {
    const message = error.hint === undefined ? error.message : `${error.message}; ${error.hint}`;
    return new ApiError(error.code === "input" || error.code === "usage" ? 400 : 500, message);
  }
  return new ApiError(500, "the server failed on this request; its log says why");
}

/** The first complaint about a body, with its place. */
export function schemaError({ issues }: z.ZodError): ApiError {
  const issue = deepest(issues[0]);
  const unknown = issue.code === "unrecognized_keys" ? issue.keys[0] : undefined;
  const path = [...issue.path, ...(unknown === undefined ? [] : [unknown])].map(String).join(".");
  const message = unknown === undefined ? issue.message : "this server does not know it";
  return new ApiError(400, path === "" ? message : `${path}: ${message}`, { param: path || null });
}

type Issue = z.core.$ZodIssue;

/** Of a choice that fits in no way, the complaint of the way that fitted furthest. */
function deepest(issue: Issue): Issue {
  if (issue.code !== "invalid_union") return issue;
  const inner = issue.errors.flatMap(([first]) => (first === undefined ? [] : [deepest(first)]));
  const best = inner.reduce<Issue | undefined>(
    (most, one) => (one.path.length > (most?.path.length ?? 0) ? one : most),
    undefined,
  );
  return best === undefined ? issue : { ...best, path: [...issue.path, ...best.path] };
}
