/**
 * What tools keep between the calls of one episode, such as a page of a browser. A session is opened at
 * the tool's first call and closed when the episode is over, however it ends: with an answer, an error,
 * an abort. Episodes share none, so that nothing of one is seen by another.
 */
import type { Tool, ToolSession } from "./tool.ts";

export class ToolSessions {
  private readonly opened = new Map<string, Promise<ToolSession>>();
  private isClosed = false;

  /** The session of a tool, opened where this is its first call; null of tools that keep nothing. */
  async of(tool: Tool, signal: AbortSignal | undefined): Promise<ToolSession | null> {
    if (tool.open === undefined) return null;
    if (this.isClosed) throw new Error(`${tool.key}: called behind the end of its episode`);
    let session = this.opened.get(tool.key);
    if (session === undefined) {
      session = tool.open(signal);
      this.opened.set(tool.key, session);
    }
    return session;
  }

  /** Closes all of them, those that are still opening too. @throws the first error, once all were tried */
  async close(): Promise<void> {
    this.isClosed = true;
    const sessions = [...this.opened.values()];
    this.opened.clear();
    const closed = await Promise.allSettled(
      sessions.map(async (opening) => {
        // One that never opened has said so where it was asked for.
        const session = await opening.catch(() => null);
        await session?.close();
      }),
    );
    const failed = closed.find((one) => one.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  }
}
