// Calls every operation of the document once. The calls are made in this order
// and build on each other.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { client, id, must, ok, run, setting, until, type Calls } from "./harness.js";

const account = "ann";
const path = { account };
const imap = {
  host: setting("IMAP_HOST"),
  port: Number(setting("IMAP_PORT")),
  tlsMode: "PLAINTEXT" as const,
  username: setting("IMAP_USER"),
  password: setting("IMAP_PASSWORD"),
};

const smtp = {
  host: setting("SMTP_HOST"),
  port: Number(setting("SMTP_PORT")),
  tlsMode: "PLAINTEXT" as const,
  username: setting("SMTP_USER"),
  password: setting("SMTP_PASSWORD"),
};

let inbox = "";
let folder = "";
let message = "";
let thread = "";
let attachment = "";
let copied = "";
let imported = "";
let deadLetter = "";
let draft = "";
let sent = "";
let refused = "";
let block = "";
let apiToken = "";

/** The server-sent frames up to the first that has all of these. */
async function frame(stream: ReadableStream<Uint8Array>, ...parts: string[]): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  const reader = stream.getReader();
  for (let chunk = await reader.read(); !chunk.done; chunk = await reader.read()) {
    text += decoder.decode(chunk.value, { stream: true });
    const found = text.split("\n\n").find((f) => parts.every((part) => f.includes(part)));
    if (found !== undefined) return found;
  }
  throw new Error(`the stream ended without ${parts.join(", ")}: ${text}`);
}

/** An endpoint for the webhook, which answers as it is told. */
let answer = 204;
const endpoint = createServer((request, response) => {
  request.resume();
  request.on("end", () => response.writeHead(answer).end());
});
await new Promise<void>((resolve) => endpoint.listen(0, "127.0.0.1", resolve));
const webhook = { webhook: "hook" };
const template = { template: "welcome" };

/** Imports a message into INBOX and gives its name. */
async function importMessage(subject: string): Promise<string> {
  const made = ok(
    await client.POST("/v1/accounts/{account}/messages:import", {
      params: { path, query: { folder: inbox, flags: ["\\Seen"] } },
      body: `From: ann@example.com\r\nSubject: ${subject}\r\n\r\nImported\r\n`,
      bodySerializer: (body) => body,
      headers: { "Content-Type": "message/rfc822" },
    }),
  );
  return id(made.name);
}

async function connected() {
  return until("the account to be connected", async () => {
    const got = ok(await client.GET("/v1/accounts/{account}", { params: { path } }));
    return got.state === "CONNECTED" ? got : undefined;
  });
}

const calls: Calls = {
  Ready: async () => ok(await client.GET("/readyz", { parseAs: "text" })),

  // Accounts.
  AccountService_CreateAccount: async () => {
    const created = ok(
      await client.POST("/v1/accounts", {
        params: { query: { accountId: account } },
        body: {
          email: "ann@example.com",
          imap,
          smtp,
        },
      }),
    );
    if (created.name !== `accounts/${account}`) throw new Error(`created ${created.name}`);
  },
  AccountService_GetAccount: connected,
  AccountService_ListAccounts: async () => {
    const { accounts } = ok(await client.GET("/v1/accounts", { params: { query: { filter: "state = CONNECTED" } } }));
    if (accounts?.length !== 1) throw new Error(`${accounts?.length} accounts`);
  },
  AccountService_UpdateAccount: async () => {
    const updated = ok(
      await client.PATCH("/v1/accounts/{account}", {
        params: { path, query: { updateMask: "displayName" } },
        body: { displayName: "Ann" },
      }),
    );
    if (updated.displayName !== "Ann") throw new Error(`renamed to ${updated.displayName}`);
  },
  AccountService_VerifyAccount: async () =>
    ok(await client.POST("/v1/accounts/{account}:verify", { params: { path }, body: {} })),
  AccountService_DiscoverAccount: async () => {
    const { candidates } = ok(await client.POST("/v1/accounts:discover", { body: { email: "ann@gmail.com" } }));
    if (candidates?.[0]?.imap?.host !== "imap.gmail.com") throw new Error(`found ${JSON.stringify(candidates)}`);
  },

  // Folders.
  FolderService_ListFolders: async () => {
    const { folders } = ok(await client.GET("/v1/accounts/{account}/folders", { params: { path } }));
    inbox = must(folders?.find((f) => f.role === "INBOX")?.name, "INBOX");
  },
  FolderService_GetFolder: async () => {
    const got = ok(await client.GET("/v1/accounts/{account}/folders/{folder}", { params: { path: { account, folder: id(inbox) } } }));
    if (got.total !== 3) throw new Error(`INBOX has ${got.total}`);
  },
  FolderService_CreateFolder: async () => {
    const created = ok(
      await client.POST("/v1/accounts/{account}/folders", { params: { path }, body: { path: ["Projects", "2026"] } }),
    );
    folder = must(created.name, "name");
  },
  FolderService_UpdateFolder: async () => {
    const updated = ok(
      await client.PATCH("/v1/accounts/{account}/folders/{folder}", {
        params: { path: { account, folder: id(folder) }, query: { updateMask: "path" } },
        body: { path: ["Projects", "2027"] },
      }),
    );
    if (updated.path?.at(-1) !== "2027") throw new Error(`renamed to ${updated.path}`);
  },
  FolderService_EmptyFolder: async () =>
    ok(await client.POST("/v1/accounts/{account}/folders/{folder}:empty", { params: { path: { account, folder: id(folder) } }, body: {} })),
  FolderService_GetQuota: async () => ok(await client.GET("/v1/accounts/{account}/quota", { params: { path } })),

  // Messages.
  MessageService_ListMessages: async () => {
    const { messages } = ok(
      await client.GET("/v1/accounts/{account}/messages", {
        params: { path, query: { folder: inbox, filter: "has:attachment", view: "METADATA" } },
      }),
    );
    message = must(messages?.[0]?.name, "a message with an attachment");
    attachment = must(messages?.[0]?.attachments?.[0]?.part, "its attachment");
  },
  MessageService_GetMessage: async () => {
    const got = ok(
      await client.GET("/v1/accounts/{account}/messages/{message}", {
        params: { path: { account, message: id(message) }, query: { view: "FULL" } },
      }),
    );
    if (!got.body?.text?.includes("see below")) throw new Error(`text ${got.body?.text}`);
  },
  MessageService_DownloadMessage: async () => {
    const raw = ok(
      await client.GET("/v1/accounts/{account}/messages/{message}:raw", {
        params: { path: { account, message: id(message) } },
        parseAs: "text",
      }),
    );
    if (!String(raw).includes("Subject: papers")) throw new Error(`raw ${raw}`);
  },
  MessageService_DownloadAttachment: async () => {
    const content = ok(
      await client.GET("/v1/accounts/{account}/messages/{message}/attachments/{attachment}:download", {
        params: { path: { account, message: id(message), attachment } },
        parseAs: "text",
      }),
    );
    if (content !== "hello") throw new Error(`content ${content}`);
  },

  MessageService_BatchGetMessages: async () =>
    ok(await client.GET("/v1/accounts/{account}/messages:batchGet", { params: { path, query: { names: [message] } } })),
  MessageService_LookupMessages: async () =>
    ok(await client.GET("/v1/accounts/{account}/messages:lookup", { params: { path, query: { messageId: "3@example.com" } } })),
  MessageService_UpdateMessage: async () => {
    const updated = ok(
      await client.PATCH("/v1/accounts/{account}/messages/{message}", {
        params: { path: { account, message: id(message) }, query: { updateMask: "flags" } },
        body: { flags: ["\\Seen", "\\Flagged"] },
      }),
    );
    if (!updated.flags?.includes("\\Flagged")) throw new Error(`flags ${updated.flags}`);
  },
  MessageService_BatchModifyMessages: async () => {
    const done = ok(
      await client.POST("/v1/accounts/{account}/messages:batchModify", {
        params: { path },
        body: { folder: inbox, filter: "subject:lunch", addFlags: ["\\Answered"] },
      }),
    );
    if (done.modified !== "2") throw new Error(`modified ${done.modified}`);
  },
  MessageService_CopyMessage: async () => {
    const made = ok(
      await client.POST("/v1/accounts/{account}/messages/{message}:copy", {
        params: { path: { account, message: id(message) } },
        body: { folder },
      }),
    );
    copied = id(made.name);
  },
  MessageService_MoveMessage: async () => {
    const moved = ok(
      await client.POST("/v1/accounts/{account}/messages/{message}:move", {
        params: { path: { account, message: copied } },
        body: { folder: inbox },
      }),
    );
    copied = id(moved.name);
  },
  MessageService_TrashMessage: async () =>
    ok(
      await client.POST("/v1/accounts/{account}/messages/{message}:trash", {
        params: { path: { account, message: copied } },
        body: {},
      }),
    ),
  MessageService_ImportMessage: async () => {
    imported = await importMessage("imported");
  },
  MessageService_DeleteMessage: async () =>
    ok(await client.DELETE("/v1/accounts/{account}/messages/{message}", { params: { path: { account, message: imported } } })),

  // Threads.
  ThreadService_ListThreads: async () => {
    const { threads } = ok(await client.GET("/v1/accounts/{account}/threads", { params: { path, query: { folder: inbox } } }));
    const found = must(threads?.find((t) => t.messageCount === 2), "a thread of two");
    if (found.messages?.[0]?.subject !== "Re: lunch") throw new Error(`newest ${found.messages?.[0]?.subject}`);
    thread = id(found.name);
  },
  ThreadService_GetThread: async () => {
    const got = ok(await client.GET("/v1/accounts/{account}/threads/{thread}", { params: { path: { account, thread } } }));
    if (got.subject !== "lunch") throw new Error(`subject ${got.subject}`);
  },

  // Drafts.
  DraftService_CreateDraft: async () => {
    const made = ok(
      await client.POST("/v1/accounts/{account}/drafts", {
        params: { path },
        body: { to: [{ address: "bob@example.com" }], subject: "Plans", text: "Later" },
      }),
    );
    draft = id(made.name);
  },
  DraftService_GetDraft: async () =>
    ok(await client.GET("/v1/accounts/{account}/drafts/{draft}", { params: { path: { account, draft } } })),
  DraftService_ListDrafts: async () =>
    must(ok(await client.GET("/v1/accounts/{account}/drafts", { params: { path } })).drafts?.[0], "the draft"),
  DraftService_UpdateDraft: async () => {
    const updated = ok(
      await client.PATCH("/v1/accounts/{account}/drafts/{draft}", {
        params: { path: { account, draft }, query: { updateMask: "text" } },
        body: { text: "Now" },
      }),
    );
    if (id(updated.name) !== draft) throw new Error(`the draft is now ${updated.name}`);
  },
  DraftService_DeleteDraft: async () =>
    ok(await client.DELETE("/v1/accounts/{account}/drafts/{draft}", { params: { path: { account, draft } } })),

  // Submissions.
  UploadService_CreateUpload: async () =>
    must(
      ok(
        await client.POST("/v1/accounts/{account}/uploads", {
          params: { path, query: { filename: "a.txt" } },
          body: "hello",
          bodySerializer: (body) => body,
          headers: { "Content-Type": "text/plain" },
        }),
      ).name,
      "the upload",
    ),
  SubmissionService_CreateSubmission: async () => {
    const send = async (address: string) =>
      ok(
        await client.POST("/v1/accounts/{account}/submissions", {
          params: { path, query: { requestId: `to-${address}` } },
          body: { to: [{ address }], subject: "Hello", text: "Hello", wait: "30s" },
        }),
      );
    const taken = await send("bob@example.com");
    if (taken.state !== "SENT") throw new Error(`state ${taken.state}: ${taken.stateDetail}`);
    sent = id(taken.name);
    refused = id((await send("nobody@example.com")).name);
  },
  SubmissionService_GetSubmission: async () => {
    const got = ok(
      await client.GET("/v1/accounts/{account}/submissions/{submission}", { params: { path: { account, submission: sent } } }),
    );
    if (got.recipients?.[0]?.smtpCode !== 250) throw new Error(`code ${got.recipients?.[0]?.smtpCode}`);
  },
  SubmissionService_ListSubmissions: async () => {
    const { submissions } = ok(await client.GET("/v1/accounts/{account}/submissions", { params: { path } }));
    if (submissions?.length !== 2) throw new Error(`${submissions?.length} submissions`);
  },
  SubmissionService_RetrySubmission: async () =>
    ok(
      await client.POST("/v1/accounts/{account}/submissions/{submission}:retry", {
        params: { path: { account, submission: refused } },
        body: {},
      }),
    ),
  SubmissionService_CancelSubmission: async () => {
    const planned = ok(
      await client.POST("/v1/accounts/{account}/submissions", {
        params: { path },
        body: { to: [{ address: "bob@example.com" }], text: "Later", sendTime: new Date(Date.now() + 3_600_000).toISOString() },
      }),
    );
    const canceled = ok(
      await client.POST("/v1/accounts/{account}/submissions/{submission}:cancel", {
        params: { path: { account, submission: id(planned.name) } },
        body: {},
      }),
    );
    if (canceled.state !== "CANCELED") throw new Error(`state ${canceled.state}`);
  },
  DraftService_SendDraft: async () => {
    const written = ok(
      await client.POST("/v1/accounts/{account}/drafts", {
        params: { path },
        body: { to: [{ address: "bob@example.com" }], subject: "Plans", text: "At last" },
      }),
    );
    const submission = ok(
      await client.POST("/v1/accounts/{account}/drafts/{draft}:send", {
        params: { path: { account, draft: id(written.name) } },
        body: { wait: "30s" },
      }),
    );
    if (submission.state !== "SENT") throw new Error(`state ${submission.state}: ${submission.stateDetail}`);
  },

  // Templates.
  TemplateService_CreateTemplate: async () => {
    const created = ok(
      await client.POST("/v1/templates", {
        params: { query: { templateId: "welcome" } },
        body: { subject: "Welcome, {{.name}}", text: "Dear {{.name}}", html: "<p>Dear {{.name}}</p>" },
      }),
    );
    if (created.name !== "templates/welcome") throw new Error(`created ${created.name}`);
  },
  TemplateService_GetTemplate: async () =>
    must(ok(await client.GET("/v1/templates/{template}", { params: { path: template } })).etag, "the etag"),
  TemplateService_ListTemplates: async () => {
    const { templates } = ok(await client.GET("/v1/templates"));
    if (templates?.length !== 1) throw new Error(`${templates?.length} templates`);
  },
  SubmissionService_MergeSubmissions: async () => {
    const { results } = ok(
      await client.POST("/v1/accounts/{account}/submissions:merge", {
        params: { path },
        body: {
          template: "templates/welcome",
          recipients: [
            { to: { address: "bob@example.com" }, variables: { name: "Bob" } },
            { to: { address: "eve@example.com" }, variables: {} },
          ],
        },
      }),
    );
    must(results?.[0]?.submission, "Bob's submission");
    if (!results?.[1]?.error?.message?.includes("name")) throw new Error("the missing name is not told");
  },
  TemplateService_UpdateTemplate: async () => {
    const updated = ok(
      await client.PATCH("/v1/templates/{template}", {
        params: { path: template, query: { updateMask: "displayName" } },
        body: { displayName: "Welcome" },
      }),
    );
    if (updated.displayName !== "Welcome") throw new Error(`renamed to ${updated.displayName}`);
  },
  TemplateService_DeleteTemplate: async () => ok(await client.DELETE("/v1/templates/{template}", { params: { path: template } })),

  // API tokens.
  TokenService_CreateToken: async () => {
    const made = ok(
      await client.POST("/v1/tokens", {
        body: { displayName: "reader", scopes: ["messages:read"], accounts: [`accounts/${account}`] },
      }),
    );
    apiToken = id(made.name);
    if (!must(made.token, "the token").includes(apiToken)) throw new Error(`made ${made.token}`);
  },
  TokenService_GetToken: async () => {
    const got = ok(await client.GET("/v1/tokens/{token}", { params: { path: { token: apiToken } } }));
    if (got.state !== "ACTIVE" || got.token !== "") throw new Error(`got ${JSON.stringify(got)}`);
  },
  TokenService_ListTokens: async () => {
    const { tokens } = ok(await client.GET("/v1/tokens", { params: { query: { state: "ACTIVE" } } }));
    if (tokens?.length !== 1) throw new Error(`${tokens?.length} tokens`);
  },
  TokenService_UpdateToken: async () => {
    const changed = ok(
      await client.PATCH("/v1/tokens/{token}", {
        params: { path: { token: apiToken }, query: { updateMask: "displayName" } },
        body: { displayName: "another" },
      }),
    );
    if (changed.displayName !== "another") throw new Error(`changed to ${changed.displayName}`);
  },
  TokenService_WhoAmI: async () => {
    const { principal } = ok(await client.GET("/v1/tokens:whoami"));
    if (principal !== "admin") throw new Error(`called by ${principal}`);
  },
  TokenService_RevokeToken: async () => {
    const path = { token: apiToken };
    const { state } = ok(await client.POST("/v1/tokens/{token}:revoke", { params: { path }, body: {} }));
    if (state !== "REVOKED") throw new Error(`revoked, it is ${state}`);
  },
  TokenService_DeleteToken: async () =>
    ok(await client.DELETE("/v1/tokens/{token}", { params: { path: { token: apiToken } } })),

  AuditService_ListAuditEntries: async () => {
    const path = `tokens/${apiToken}`;
    await until("the audit log to have the token's end", async () => {
      const query = { method: "TokenService", pageSize: 500 };
      const { entries } = ok(await client.GET("/v1/auditEntries", { params: { query } }));
      return entries?.find((e) => e.method === "TokenService.DeleteToken" && e.resources?.includes(path));
    });
  },

  // Blocks.
  BlockService_CreateBlock: async () => {
    const created = ok(
      await client.POST("/v1/accounts/{account}/blocks", { params: { path }, body: { address: "eve@example.com", reason: "asked to" } }),
    );
    block = id(created.name);
  },
  BlockService_GetBlock: async () => {
    const got = ok(await client.GET("/v1/accounts/{account}/blocks/{block}", { params: { path: { account, block } } }));
    if (got.origin !== "API") throw new Error(`origin ${got.origin}`);
  },
  BlockService_ListBlocks: async () => {
    const { blocks } = ok(
      await client.GET("/v1/accounts/{account}/blocks", { params: { path, query: { address: "Eve@example.com" } } }),
    );
    if (blocks?.length !== 1) throw new Error(`${blocks?.length} blocks`);
  },
  BlockService_DeleteBlock: async () =>
    ok(await client.DELETE("/v1/accounts/{account}/blocks/{block}", { params: { path: { account, block } } })),

  // What an account can be told.
  AccountService_PauseAccount: async () =>
    ok(await client.POST("/v1/accounts/{account}:pause", { params: { path }, body: {} })),
  AccountService_ResumeAccount: async () => {
    ok(await client.POST("/v1/accounts/{account}:resume", { params: { path }, body: {} }));
    await connected();
  },
  AccountService_ReconnectAccount: async () =>
    ok(await client.POST("/v1/accounts/{account}:reconnect", { params: { path }, body: {} })),
  AccountService_ResyncAccount: async () => {
    ok(await client.POST("/v1/accounts/{account}:resync", { params: { path }, body: {} }));
    await connected();
  },

  // Webhooks.
  WebhookService_CreateWebhook: async () => {
    const created = ok(
      await client.POST("/v1/webhooks", {
        params: { query: { webhookId: "hook" } },
        body: {
          url: `http://127.0.0.1:${(endpoint.address() as AddressInfo).port}/`,
          types: ["message.created"],
          accounts: [`accounts/${account}`],
        },
      }),
    );
    must(created.secret, "secret");
  },
  WebhookService_TestWebhook: async () => {
    const { delivery } = ok(await client.POST("/v1/webhooks/{webhook}:test", { params: { path: webhook }, body: {} }));
    if (delivery?.outcome !== "SUCCEEDED") throw new Error(`outcome ${delivery?.outcome}: ${delivery?.error}`);
  },
  WebhookService_GetWebhook: async () => ok(await client.GET("/v1/webhooks/{webhook}", { params: { path: webhook } })),
  WebhookService_ListWebhooks: async () => must(ok(await client.GET("/v1/webhooks")).webhooks?.[0], "the webhook"),
  WebhookService_UpdateWebhook: async () =>
    ok(
      await client.PATCH("/v1/webhooks/{webhook}", {
        params: { path: webhook, query: { updateMask: "displayName" } },
        body: { displayName: "Hook" },
      }),
    ),
  WebhookService_RotateWebhookSecret: async () =>
    must(
      ok(await client.POST("/v1/webhooks/{webhook}:rotateSecret", { params: { path: webhook }, body: { overlap: "60s" } })).secret,
      "the new secret",
    ),
  WebhookService_ListDeadLetters: async () => {
    answer = 410; // what is gone wants nothing any more
    await importMessage("for nobody");
    deadLetter = await until("a dead letter", async () => {
      const { deadLetters } = ok(await client.GET("/v1/webhooks/{webhook}/deadLetters", { params: { path: webhook } }));
      return deadLetters?.[0]?.name;
    });
    answer = 204;
  },
  WebhookService_ListDeliveries: async () =>
    until("the delivery in the log", async () => {
      const { deliveries } = ok(await client.GET("/v1/webhooks/{webhook}/deliveries", { params: { path: webhook } }));
      return deliveries?.find((d) => d.httpStatus === 410);
    }),
  WebhookService_DeleteDeadLetter: async () =>
    ok(
      await client.DELETE("/v1/webhooks/{webhook}/deadLetters/{deadLetter}", {
        params: { path: { ...webhook, deadLetter: id(deadLetter) } },
      }),
    ),
  WebhookService_EnableWebhook: async () =>
    ok(await client.POST("/v1/webhooks/{webhook}:enable", { params: { path: webhook }, body: {} })),
  WebhookService_RedriveDeadLetters: async () =>
    ok(await client.POST("/v1/webhooks/{webhook}/deadLetters:redrive", { params: { path: webhook }, body: {} })),
  WebhookService_ReplayWebhook: async () =>
    ok(
      await client.POST("/v1/webhooks/{webhook}:replay", {
        params: { path: webhook },
        body: { startTime: new Date(Date.now() - 60_000).toISOString() },
      }),
    ),
  WebhookService_DisableWebhook: async () =>
    ok(await client.POST("/v1/webhooks/{webhook}:disable", { params: { path: webhook }, body: {} })),
  WebhookService_DeleteWebhook: async () => ok(await client.DELETE("/v1/webhooks/{webhook}", { params: { path: webhook } })),

  // Events.
  EventService_GetEventCursor: async () => must(ok(await client.GET("/v1/events:cursor")).cursor, "cursor"),
  EventService_CreateEventTicket: async () => ok(await client.POST("/v1/events:ticket", { body: {} })),
  EventService_ListEvents: async () =>
    until("the events of the account", async () => {
      const { events } = ok(
        await client.GET("/v1/accounts/{account}/events", { params: { path, query: { types: ["account.created"] } } }),
      );
      return events?.[0]?.cursor;
    }),
  EventService_WatchEvents: async () => {
    const stop = new AbortController();
    const stream = ok(
      await client.GET("/v1/events:watch", {
        params: { query: { accounts: [`accounts/${account}`] } },
        parseAs: "stream",
        signal: stop.signal,
      }),
    );
    await frame(must(stream, "stream") as ReadableStream<Uint8Array>, "id: ");
    stop.abort();
  },

  // What ends things goes last.
  FolderService_DeleteFolder: async () =>
    ok(await client.DELETE("/v1/accounts/{account}/folders/{folder}", { params: { path: { account, folder: id(folder) } } })),
  AccountService_DeleteAccount: async () => ok(await client.DELETE("/v1/accounts/{account}", { params: { path } })),
};

await run(calls);
endpoint.close();
endpoint.closeAllConnections();
