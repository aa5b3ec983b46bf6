// Renders /openapi.json. Everything goes into the page as text, never as HTML.
"use strict";

const VERBS = ["get", "post", "put", "patch", "delete"];

function el(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) node.setAttribute(name, value);
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

// prose shows text with `code` and **strong** words in it, and a paragraph for
// each blank line.
function prose(text, tag = "p") {
  return (text || "").split(/\n\s*\n/).filter(Boolean).map((paragraph) => {
    const node = el(tag);
    paragraph.split("`").forEach((piece, i) => node.append(...(i % 2 ? [el("code", {}, piece)] : strong(piece))));
    return node;
  });
}

function strong(text) {
  return text.split("**").map((piece, i) => (i % 2 ? el("strong", {}, piece) : piece));
}

function resolve(doc, schema) {
  if (!schema) return {};
  if (schema.$ref) return { ...doc.components.schemas[schema.$ref.split("/").pop()], $name: schema.$ref.split("/").pop() };
  if (schema.allOf && schema.allOf.length === 1) return resolve(doc, schema.allOf[0]);
  return schema;
}

function kindOf(doc, schema) {
  const full = resolve(doc, schema);
  if (full.enum) return full.enum.filter((value) => !String(value).endsWith("_UNSPECIFIED")).join(" | ");
  if (full.type === "array") return "list of " + kindOf(doc, full.items);
  if (full.additionalProperties) return "map to " + kindOf(doc, full.additionalProperties);
  if (full.properties && full.$name) return full.$name.replace(/^postern\.v1\./, "");
  const type = Array.isArray(full.type) ? full.type.join(" | ") : full.type || "object";
  return full.format ? `${type} (${full.format})` : type;
}

// inner is the schema whose fields are worth unfolding below a field.
function inner(doc, schema) {
  const full = resolve(doc, schema);
  if (full.type === "array") return inner(doc, full.items);
  return full.properties ? full : null;
}

function field(doc, name, schema, required, seen) {
  const marks = [];
  if (required) marks.push(el("span", { class: "must" }, "required"));
  if (schema.readOnly) marks.push(el("span", { class: "kind" }, "in answers only"));
  if (schema.writeOnly) marks.push(el("span", { class: "kind" }, "never in answers"));
  const text = schema.description || resolve(doc, schema).description;
  const row = el("div", {}, el("dt", {}, name, el("span", { class: "kind" }, kindOf(doc, schema)), ...marks), ...prose(text, "dd"));
  const below = inner(doc, schema);
  if (below && !seen.includes(below.$name)) {
    const more = el("details", {}, el("summary", {}, "fields"));
    // Filled when it is opened: types refer to each other.
    more.addEventListener("toggle", () => {
      if (more.open && more.children.length === 1) more.append(fields(doc, below, seen.concat(below.$name)));
    });
    row.append(more);
  }
  return row;
}

function fields(doc, schema, seen) {
  const required = schema.required || [];
  return el("dl", {}, ...Object.entries(schema.properties || {}).map(([name, property]) =>
    field(doc, name, property, required.includes(name), seen)));
}

function content(doc, heading, holder) {
  const [type, media] = Object.entries((holder && holder.content) || {})[0] || [];
  if (!media) return [];
  const schema = inner(doc, media.schema);
  const title = el("h4", {}, `${heading} (${type})`);
  return schema ? [title, fields(doc, schema, [schema.$name])] : [title, el("p", {}, kindOf(doc, media.schema))];
}

function curl(verb, path, operation) {
  const lines = [`curl -H "Authorization: Bearer $TOKEN"`];
  if (verb !== "get") lines.push(`-X ${verb.toUpperCase()}`);
  if (operation.requestBody) lines.push(`-d '{…}'`);
  lines.push(`'${location.origin}${path}'`);
  return lines.join(" \\\n  ");
}

function call(doc, path, verb, operation) {
  const id = operation.operationId || `${verb}${path}`;
  const name = id.split("_").pop();
  const parameters = operation.parameters || [];
  return el("section", { class: "call", id, "data-words": `${name} ${verb} ${path} ${operation.summary || ""}`.toLowerCase() },
    el("h3", {}, name),
    el("div", { class: "route" }, el("span", { class: "verb" }, verb.toUpperCase()), el("span", {}, path)),
    ...prose(operation.summary), ...prose(operation.description),
    parameters.length ? el("h4", {}, "Parameters") : null,
    parameters.length ? el("dl", {}, ...parameters.map((p) =>
      field(doc, p.name, { ...p.schema, description: p.description }, p.required, []))) : null,
    ...content(doc, "Body", operation.requestBody),
    ...content(doc, "Answer", (operation.responses || {})["200"]),
    el("pre", {}, curl(verb, path, operation)));
}

function render(doc) {
  document.title = doc.info.title;
  document.getElementById("title").textContent = doc.info.title;
  document.getElementById("about").replaceChildren(...prose(doc.info.description));
  const calls = document.getElementById("calls");
  const toc = document.getElementById("toc");
  calls.replaceChildren();
  const groups = new Map((doc.tags || []).map((tag) => [tag.name, { tag, found: [] }]));
  for (const [path, item] of Object.entries(doc.paths)) {
    for (const verb of VERBS.filter((v) => item[v])) {
      const name = (item[verb].tags || ["Other"])[0];
      if (!groups.has(name)) groups.set(name, { tag: { name }, found: [] });
      groups.get(name).found.push(call(doc, path, verb, item[verb]));
    }
  }
  for (const { tag, found } of groups.values()) {
    calls.append(el("div", { class: "service" }, el("h2", {}, tag.name), ...prose(tag.description)), ...found);
    toc.append(el("h2", {}, tag.name), el("ul", {}, ...found.map((section) =>
      el("li", { "data-for": section.id }, el("a", { href: "#" + section.id }, section.id.split("_").pop())))));
  }
  if (location.hash) document.getElementById(decodeURIComponent(location.hash.slice(1)))?.scrollIntoView();
}

document.getElementById("search").addEventListener("input", (event) => {
  const wanted = event.target.value.trim().toLowerCase();
  for (const section of document.querySelectorAll(".call")) {
    const hide = wanted !== "" && !section.dataset.words.includes(wanted);
    section.hidden = hide;
    document.querySelector(`li[data-for="${CSS.escape(section.id)}"]`).hidden = hide;
  }
});

fetch("/openapi.json")
  .then((answer) => (answer.ok ? answer.json() : Promise.reject(new Error(answer.statusText))))
  .then(render)
  .catch((error) => {
    document.getElementById("calls").replaceChildren(el("p", {}, `openapi.json cannot be read: ${error.message}`));
  });
