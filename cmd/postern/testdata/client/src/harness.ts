// What the calls stand on: a client that is generated from the document, and the
// count of what was answered.
import createClient, { type Client } from "openapi-fetch";
import type { operations, paths } from "./schema.js";

/** Every operation of the document. One that is missing here, or is not there
 * any more, does not compile. */
export type Calls = { [Operation in keyof operations]: () => Promise<unknown> };

export function setting(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set`);
  return value;
}

const answered = new Set<string>();

export const base = setting("POSTERN_URL");
export const token = setting("POSTERN_TOKEN");

export const client: Client<paths> = createClient<paths>({
  baseUrl: base,
  headers: { Authorization: `Bearer ${token}` },
});
client.use({
  onResponse({ request, schemaPath, response }) {
    if (response.ok) answered.add(`${request.method.toLowerCase()} ${schemaPath}`);
  },
});

/** The answer of a call, which must have succeeded. */
export function ok<T>(result: { data?: T; error?: unknown; response: Response }): T {
  if (result.error !== undefined || !result.response.ok) {
    throw new Error(`${result.response.url} answered ${result.response.status}: ${JSON.stringify(result.error)}`);
  }
  return result.data as T;
}

/** A value that the document calls optional and that has to be there. */
export function must<T>(value: T | undefined | null, what: string): T {
  if (value === undefined || value === null || value === "") throw new Error(`${what} is missing`);
  return value;
}

/** The last part of a resource name. */
export function id(name: string | undefined): string {
  return must(must(name, "name").split("/").at(-1), `id of ${name}`);
}

/** Asks again until there is an answer. */
export async function until<T>(what: string, ask: () => Promise<T | undefined>): Promise<T> {
  const end = Date.now() + 60_000;
  for (;;) {
    const got = await ask();
    if (got !== undefined) return got;
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Makes the calls in their order, then compares what was answered with the
 * document that the gateway serves. */
export async function run(calls: Calls): Promise<void> {
  for (const [operation, call] of Object.entries(calls)) {
    try {
      await call();
    } catch (error) {
      throw new Error(`${operation}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
    }
  }
  const document = (await (await fetch(`${base}/openapi.json`)).json()) as {
    paths: Record<string, Record<string, { operationId?: string }>>;
  };
  const missing: string[] = [];
  let count = 0;
  for (const [path, item] of Object.entries(document.paths)) {
    for (const method of ["get", "put", "post", "patch", "delete"]) {
      if (!item[method]) continue;
      count++;
      if (!answered.has(`${method} ${path}`)) missing.push(`${method} ${path} (${item[method].operationId})`);
    }
  }
  if (missing.length > 0) throw new Error(`operations that were not called with success:\n${missing.join("\n")}`);
  console.log(`called ${count} operations`);
}
